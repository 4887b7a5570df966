-- SIGNAL: a durable inbox per run. A delivery locks the run, as all that moves the run does: so it sees whether the run
-- waits, or the run sees the signal when it comes to wait. None is lost in between, and none is taken for a run that ended.
-- Locks: the run, then its tasks.

-- Leave a signal for the live run with this id or this key, and wake it when it waits for one of this name. The same dedup key
-- answers with the signal that was there (created false), as long as the run is kept. PF410: there is no such live run.
create or replace function pgflow.send_signal(
  target_id uuid, target_key text, name text, payload jsonb default 'null', dedup_key text default null
) returns table (signal_id bigint, run_id uuid, created boolean, queue text)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  run pgflow.runs;
begin
  if pg_column_size(payload) > 1048576 then
    perform pgflow.check_payloads(array[payload], format('signal %L', name));
  end if;
  for n in 1 .. 2 loop                       -- the key may have passed on to another run while we waited for the first
    if target_id is not null then
      select * into run from pgflow.runs r where r.run_id = target_id for no key update;
    else
      select * into run from pgflow.runs r where r.key_guard = target_key for no key update;
    end if;
    exit when found or target_id is not null;
  end loop;
  if run.status is distinct from 'started' then
    perform pgflow.raise('PF410', format('no live run %s to signal %L to', case when target_id is not null then target_id::text
      else format('with the key %L', target_key) end, name), case when run.status is not null then format('It is %s.', run.status) end);
  end if;
  if coalesce(name, '') = '' then
    raise invalid_parameter_value using message = 'a signal has a name';
  end if;
  insert into pgflow.signals (run_id, name, payload, dedup_key, sent_at)
  values (run.run_id, send_signal.name, coalesce(send_signal.payload, 'null'), send_signal.dedup_key, at)
  on conflict (run_id, dedup_key) do nothing
  returning signals.signal_id into signal_id;
  run_id := run.run_id;
  created := signal_id is not null;
  if created then
    queue := case when run.kind = 'flow' then pgflow.receive_signals(array(
        select t.message_id from pgflow.step_tasks t
        where t.run_id = run.run_id and t.awaits is not null and t.waiting order by t.message_id), at)
      else pgflow.wake_machine(run.run_id, send_signal.name, at) end;
  else
    select s.signal_id into signal_id from pgflow.signals s where s.run_id = run.run_id and s.dedup_key = send_signal.dedup_key;
  end if;
  return next;
end
$$;

-- A machine that waits for a signal of this name goes on, if the set that it waits for is complete.
create or replace function pgflow.wake_machine(run uuid, name text, at timestamptz) returns text
language sql as $$
  update pgflow.step_tasks t set stage = 'ready', ready_at = at, waiting = false
  where t.run_id = run and t.awaits is not null and t.waiting and t.stage || '' in ('parked', 'delayed')
    and wake_machine.name = any (t.awaits) and pgflow.has_signals(run, t.awaits, t.await_all, t.seen)
  returning t.queue;
$$;

-- Whether there is what a machine waits for: a signal of one of the names that it has not seen yet; with `every`, one of each,
-- seen or not, of which one is new.
create or replace function pgflow.has_signals(run uuid, names text[], every boolean, seen bigint[]) returns boolean
language sql stable as $$
  select coalesce(bool_or(g.signal_id <> all (coalesce(seen, '{}'))), false)
    and (not every or count(distinct g.name) = (select count(distinct n) from unnest(names) n))
  from pgflow.waiting_signals(run, names) g;
$$;

-- The unread signals of these names, the oldest of each, 1000 in all: what a machine is handed, and what may wake it.
create or replace function pgflow.waiting_signals(run uuid, names text[]) returns setof pgflow.signals
language sql stable as $$
  select g.*
  from (select distinct n from unnest(names) n) u (name)
  cross join lateral (
    select * from pgflow.signals g
    where g.run_id = run and g.consumed_at is null and g.name = u.name
    order by g.run_id, g.signal_id limit greatest(1, 1000 / cardinality(names))) g;
$$;

-- Steps of flows that wait each get the oldest signal of their name that nobody had yet; it is theirs from then on.
create or replace function pgflow.receive_signals(listeners bigint[], at timestamptz) returns text
language plpgsql as $$
declare
  result text;
begin
  -- one whose time came meanwhile goes on without
  listeners := array(
    select t.message_id from pgflow.step_tasks t
    where t.message_id = any (listeners) and t.waiting and t.stage || '' in ('parked', 'delayed') order by t.message_id for update);
  with step as (
    select t.message_id, t.run_id, t.awaits[1] as name,
      row_number() over (partition by t.run_id, t.awaits[1] order by t.message_id) as place
    from unnest(listeners) i
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = i and t.waiting offset 0) t
  ), signal as (
    select g.signal_id, g.run_id, g.name, row_number() over (partition by g.run_id, g.name order by g.signal_id) as place
    from (select distinct s.run_id, s.name from step s) s
    cross join lateral (
      select g.signal_id, g.run_id, g.name from pgflow.signals g
      where g.run_id = s.run_id and g.consumed_at is null and g.name = s.name
      order by g.run_id, g.signal_id limit cardinality(listeners)) g
  ), given as (
    select s.message_id, g.signal_id from step s join signal g on g.run_id = s.run_id and g.name = s.name and g.place = s.place
  ), consumed as (
    update pgflow.signals g set consumed_at = at from given v where g.signal_id = any (array[v.signal_id])
  ), woken as (
    update pgflow.step_tasks t
    set seen = array[v.signal_id], waiting = false, stage = 'ready', ready_at = at
    from given v where t.message_id = any (array[v.message_id])
    returning t.queue
  )
  select max(w.queue) into result from woken w;
  return result;
end
$$;

-- What a claim hands to a task that signals woke, oldest first; a step of a flow gets the one that it was given.
create or replace function pgflow.handed_signals(run uuid, names text[], given bigint[]) returns jsonb
language plpgsql stable as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object('id', g.signal_id, 'name', g.name, 'payload', g.payload, 'sent_at', g.sent_at)
      order by g.signal_id), '[]')
    from (
      select w.* from pgflow.waiting_signals(run, names) w where given is null
      union all
      select o.* from unnest(given) i cross join lateral (
        select * from pgflow.signals o where o.signal_id = i offset 0) o) g);
end
$$;

-- The inbox of a run, oldest first.
create or replace function pgflow.signals_of(run_id uuid, most int default 100, unconsumed_only boolean default false)
returns table (signal_id bigint, name text, payload jsonb, dedup_key text, sent_at timestamptz, consumed_at timestamptz)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select g.signal_id, g.name, g.payload, g.dedup_key, g.sent_at, g.consumed_at
  from pgflow.signals g
  where g.run_id = signals_of.run_id and (not unconsumed_only or g.consumed_at is null)
  order by g.signal_id limit most;
$$;
