-- EVENTS: what happened to runs and steps, told in the transaction in which it happens to whoever listens: `realtime.send`
-- where the database has it, and our own listeners. Where nobody listens nothing is put together.
--
-- The events of a run are in the order of their ids, because whoever moves a run holds it. A listener that begins takes the
-- same lock for a moment: what moved the run before has ended, what moves it next sees the listener.
-- A lease is about a program that reads, so it goes by the real clock, also where a test moves that of the runs.
-- Locks: who tells takes none; listen_to the run; the others listeners only.

-- What every place asks before it tells, anew and in a statement of its own: it has to see who came while a lock was waited for.
create or replace function pgflow.somebody_listens() returns boolean
language plpgsql as $$
begin
  if pgflow.can_broadcast() then
    return true;
  end if;
  if not exists (select from pgflow.listeners) then
    return false;
  end if;
  return exists (select from pgflow.listeners l where l.until > clock_timestamp());
end
$$;

-- To look a function up in a schema is an error for who may not use the schema; that is no reason to stop a run.
create or replace function pgflow.can_broadcast() returns boolean
language sql stable as $$
  select case when has_schema_privilege(to_regnamespace('realtime')::oid, 'usage')
    then to_regprocedure('realtime.send(jsonb,text,text,boolean)') is not null else false end;
$$;

-- Runs became what their status says: of these ids only those that are `what` now (`ended`: that have ended). `violated`: failed by
-- a type violation, whose event has no message, as in pgflow.
create or replace function pgflow.tell_runs(what text, run_ids uuid[]) returns void
language plpgsql as $$
begin
  perform pgflow.tell(array(
    select (r.run_id, 'run:' || r.status, pgflow.run_payload(r) - case when what = 'violated' then 'error_message' else '' end)::pgflow.told
    from unnest(run_ids) with ordinality as i (id, place)
    join pgflow.runs r on r.run_id = any (array[i.id])
    where case what when 'ended' then r.status <> 'started' when 'violated' then r.status = 'failed' else r.status = what end
    order by i.place));
end
$$;

-- Steps became what their status says: of these only those that are `what` now. `empty`: completed without a task.
-- `exhausted`: skipped because a task is out of attempts. Within a run in the order of their definition.
create or replace function pgflow.tell_steps(what text, steps pgflow.step_ref[]) returns void
language plpgsql as $$
begin
  perform pgflow.tell(array(
    select (s.run_id, format('step:%s:%s', s.step_slug, s.status), pgflow.step_payload(s, what))::pgflow.told
    from (select distinct u.run_id, u.version_id, u.step_slug from unnest(steps) u) u
    join pgflow.step_states s on s.run_id = any (array[u.run_id]) and s.step_slug = u.step_slug
    join pgflow.steps d on d.version_id = any (array[u.version_id]) and d.step_slug = u.step_slug
    where s.status = case what when 'empty' then 'completed' when 'exhausted' then 'skipped' else what end
    order by s.run_id, d.step_index));
end
$$;

-- A step failed and so did its run; pgflow tells a type violation the other way round.
create or replace function pgflow.tell_failures(steps pgflow.step_ref[], violated boolean default false) returns void
language plpgsql as $$
declare
  run_ids constant uuid[] := array(select distinct u.run_id from unnest(steps) u);
begin
  if violated then
    perform pgflow.tell_runs('violated', run_ids);
  end if;
  perform pgflow.tell_steps('failed', steps);
  if not violated then
    perform pgflow.tell_runs('failed', run_ids);
  end if;
end
$$;

-- What a wave resolved without a task: plain skips, cascades, and then what is empty.
create or replace function pgflow.tell_resolved(
  skipped pgflow.step_ref[], cascading pgflow.step_ref[], below pgflow.step_ref[], empty pgflow.step_ref[]
) returns void
language plpgsql as $$
begin
  perform pgflow.tell_steps('skipped', skipped);
  perform pgflow.tell_steps('skipped', cascading || below);
  perform pgflow.tell_steps('empty', empty);
end
$$;

-- A run that begins with something in it, or goes on again: the run, and its steps that have one of these states.
create or replace function pgflow.tell_present(run uuid, variadic states text[]) returns void
language plpgsql as $$
declare
  steps constant pgflow.step_ref[] := array(
    select (s.run_id, r.version_id, s.step_slug)::pgflow.step_ref
    from pgflow.runs r join pgflow.step_states s on s.run_id = r.run_id where r.run_id = run);
begin
  perform pgflow.tell_runs('started', array[run]);
  perform pgflow.tell_steps(state, steps) from unnest(states) state;
end
$$;

create or replace function pgflow.run_payload(run pgflow.runs) returns jsonb
language sql stable as $$
  select jsonb_build_object('event_type', 'run:' || run.status, 'run_id', run.run_id, 'flow_slug', run.flow_slug, 'status', run.status)
    || case run.status
      when 'started' then jsonb_build_object(
        'input', run.input, 'remaining_steps', run.remaining_steps, 'started_at', run.started_at)
      when 'completed' then jsonb_build_object('output', run.output, 'completed_at', run.completed_at)
      when 'failed' then jsonb_build_object('error_message', run.error_message, 'failed_at', run.failed_at)
      else jsonb_build_object('error_message', run.error_message, 'cancelled_at', run.cancelled_at) end;
$$;

create or replace function pgflow.step_payload(state pgflow.step_states, what text) returns jsonb
language sql stable as $$
  select jsonb_build_object('event_type', 'step:' || state.status, 'run_id', state.run_id, 'step_slug', state.step_slug,
      'status', state.status)
    || case what
      when 'started' then jsonb_build_object(
        'started_at', state.started_at, 'remaining_tasks', state.remaining_tasks, 'remaining_deps', state.remaining_deps)
      when 'completed' then jsonb_build_object('output', state.output, 'completed_at', state.completed_at)
      when 'empty' then jsonb_build_object('output', state.output, 'started_at', state.started_at,
        'completed_at', state.completed_at, 'remaining_tasks', 0, 'remaining_deps', 0)
      when 'failed' then jsonb_build_object('error_message', state.error_message, 'failed_at', state.failed_at)
      else jsonb_build_object('skip_reason', state.skip_reason, 'skipped_at', state.skipped_at) || case what
        when 'exhausted' then jsonb_build_object('error_message', state.error_message)
        else jsonb_build_object('flow_slug', state.flow_slug) end end;
$$;

create or replace function pgflow.tell(told pgflow.told[]) returns void
language plpgsql as $$
begin
  insert into pgflow.events (run_id, event, payload, at)
  select t.run_id, t.event, t.payload, pgflow.now()
  from unnest(told) with ordinality as t (run_id, event, payload, place)
  where exists (select from pgflow.listeners l where l.run_id is null and l.until > clock_timestamp())
    or t.run_id in (select l.run_id from pgflow.listeners l where l.run_id is not null and l.until > clock_timestamp())
  order by t.place;
  if pgflow.can_broadcast() then
    perform pgflow.broadcast(told);
  end if;
end
$$;

-- Hand events to realtime.send. What it raises is a warning and ends nothing: then each goes alone.
create or replace function pgflow.broadcast(told pgflow.told[]) returns void
language plpgsql as $$
declare
  t pgflow.told;
begin
  foreach t in array told loop
    perform realtime.send(t.payload, t.event, 'pgflow:run:' || t.run_id, false);
  end loop;
exception when others then
  if cardinality(told) > 1 then
    foreach t in array told loop
      perform pgflow.broadcast(array[t]);
    end loop;
  else
    raise warning 'event % of run % was not sent: %', told[1].event, told[1].run_id, sqlerrm;
  end if;
end
$$;

-- Begin to listen to a run, or to all (null), for as long as a lease; renew it with keep_listening. Answers where to read on: after
-- an event of the run, or from a snapshot. For a run that has ended nothing begins: its last event is the answer.
create or replace function pgflow.listen_to(
  listener uuid, run uuid default null, lease interval default '5 minutes',
  out after bigint, out seen text, out event text, out payload text, out at timestamptz
) language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  found_run pgflow.runs;
begin
  if run is not null then
    select * into found_run from pgflow.runs r where r.run_id = listen_to.run for no key update;
    if not found then
      perform pgflow.raise('PF404', format('no run %s', run));
    end if;
    after := coalesce((select max(e.event_id) from pgflow.events e where e.run_id = listen_to.run), 0);
    if found_run.status <> 'started' then
      event := 'run:' || found_run.status;
      payload := pgflow.run_payload(found_run);
      at := coalesce(found_run.completed_at, found_run.failed_at, found_run.cancelled_at);
      return;
    end if;
  end if;
  insert into pgflow.listeners (listener_id, run_id, until) values (listener, run, clock_timestamp() + lease)
  on conflict (listener_id) do update set until = excluded.until;
  seen := pg_current_snapshot();
end
$$;

-- Renew these leases; answers with those that had not lapsed. Events of the others may be gone.
create or replace function pgflow.keep_listening(listeners uuid[], lease interval default '5 minutes') returns setof uuid
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return query
  update pgflow.listeners l set until = clock_timestamp() + lease
  where l.listener_id = any (listeners) and l.until > clock_timestamp()
  returning l.listener_id;
end
$$;

create or replace function pgflow.stop_listening(listeners uuid[]) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  stopped int;
begin
  delete from pgflow.listeners l where l.listener_id = any (listeners);
  get diagnostics stopped = row_count;
  return stopped;
end
$$;

-- What happened to these runs after these events, in order, at most so many of each run.
create or replace function pgflow.events_of(runs uuid[], after bigint[], most int default 500)
returns table (event_id bigint, run_id uuid, event text, payload text, at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
  return query
  select e.event_id, e.run_id, e.event, e.payload::text, e.at
  from unnest(runs, events_of.after) as p (run_id, after)
  cross join lateral (
    select * from pgflow.events e where e.run_id = p.run_id and e.event_id > p.after order by e.event_id limit most) e
  order by e.event_id;
end
$$;

-- What happened to all runs between two snapshots, without gaps: what committed late too. `until` null: until now, and `snapshot`
-- says what that was. More than `most`: go on with the same `until`, after the last event. Without events one row of nulls.
create or replace function pgflow.events_between(seen text, until text default null, after bigint default 0, most int default 500)
returns table (snapshot text, event_id bigint, run_id uuid, event text, payload text, at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
  return query
  select s.until::text, e.event_id, e.run_id, e.event, e.payload::text, e.at
  from (select seen::pg_snapshot as seen, coalesce(events_between.until::pg_snapshot, pg_current_snapshot()) as until) s
  left join lateral (
    select * from pgflow.events e
    where e.xid >= pg_snapshot_xmin(s.seen) and not pg_visible_in_snapshot(e.xid, s.seen)
      and pg_visible_in_snapshot(e.xid, s.until) and e.event_id > events_between.after
    order by e.event_id limit most) e on true
  order by e.event_id;
end
$$;

-- Forget what nobody needs: listeners that did not come back, and the oldest events, at most so many.
create or replace function pgflow.prune_events(keep interval default '10 minutes', most int default 10000) returns int
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  pruned int;
begin
  delete from pgflow.listeners l where l.listener_id in (
    select l.listener_id from pgflow.listeners l where l.until <= clock_timestamp() for update skip locked);
  delete from pgflow.events e where e.ctid = any (array(
    select o.ctid from (select e.ctid, e.at from pgflow.events e order by e.xid limit most) o
    where o.at < pgflow.now() - keep));
  get diagnostics pruned = row_count;
  return pruned;
end
$$;
