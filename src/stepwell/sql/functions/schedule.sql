-- SCHEDULE: start runs at their slots, each slot once, however many workers try.
-- Locks, everywhere in this file: schedules by name, then what start_runs takes (new runs only).

-- Code says which schedules it has. A new one begins with the slot `next`; a known one keeps its own unless its times
-- changed. What was tuned or paused by hand stays until the code says something else about it.
create or replace function pgflow.ensure_schedules(schedules jsonb) returns table (name text, status text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  with said as (
    select e.value ->> 'name' as name, e.value - 'next' as deployed, (e.value ->> 'next')::timestamptz as next_at,
      case when (e.value ->> 'paused')::boolean then at end as paused_at, e.value as v
    from jsonb_array_elements(schedules) e
  ), written as (
    insert into pgflow.schedules as s (
      name, flow_slug, kind, version, input, spec, overlap, catch_up, options, created_at, paused_at, next_at, deployed)
    select d.name, d.v ->> 'flow', d.v ->> 'kind', (d.v ->> 'version')::int, d.v -> 'input', d.v -> 'spec',
      d.v ->> 'overlap', d.v ->> 'catchUp', d.v -> 'options', at, d.paused_at, d.next_at, d.deployed
    from said d order by d.name
    on conflict on constraint schedules_pkey do update
    set flow_slug = excluded.flow_slug, kind = excluded.kind, version = excluded.version, input = excluded.input,
        spec = excluded.spec, overlap = excluded.overlap, catch_up = excluded.catch_up, options = excluded.options,
        next_at = case when s.spec = excluded.spec then s.next_at else excluded.next_at end,
        waiting = case when excluded.overlap = 'queue' then s.waiting else '{}' end,
        paused_at = case
          when s.deployed -> 'paused' = excluded.deployed -> 'paused' then s.paused_at
          when excluded.paused_at is not null then coalesce(s.paused_at, at) end,
        resumed_at = case
          when s.paused_at is not null and excluded.paused_at is null
            and s.deployed -> 'paused' <> excluded.deployed -> 'paused' then at
          else s.resumed_at end,
        error_message = null, deployed = excluded.deployed
    where s.deployed is distinct from excluded.deployed
    returning s.name, s.xmax = 0 as created
  )
  select d.name, case when w.name is null then 'verified' when w.created then 'created' else 'updated' end
  from said d left join written w on w.name = d.name
  order by d.name;
end
$$;

-- What there is to fire at this moment: schedules with a slot that is due, and those whose run ended while slots wait.
-- No locks; fire_schedules looks again under its own.
create or replace function pgflow.due_schedules(most int default 1000)
returns table (name text, spec jsonb, catch_up text, next_at timestamptz, resumed_at timestamptz, seen_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  (select s.name, s.spec, s.catch_up, s.next_at, s.resumed_at, at
  from pgflow.schedules s where s.paused_at is null and s.next_at <= at
  order by s.next_at limit most)
  union all
  (select s.name, s.spec, s.catch_up, s.next_at, s.resumed_at, at
  from pgflow.schedules s
  where s.paused_at is null and s.waiting <> '{}'
    and s.next_at - at > '0 s'  -- written so that the index of due times is no way to it
    and pgflow.still_live(s.live) = '{}'
  order by s.name limit most);
end
$$;

-- Seconds until something is due; null: no schedule fires. A slot that waits for the end of a run is looked at every half
-- second.
create or replace function pgflow.next_schedule() returns float8
language sql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select case when d.next_at is not null  -- greatest would make 0 of null
    then greatest(least(extract(epoch from d.next_at - pgflow.now()), case when w.some then 0.5 end), 0) end::float8
  from (select min(s.next_at) as next_at from pgflow.schedules s where s.paused_at is null) d,
    (select exists (select from pgflow.schedules s where s.paused_at is null and s.waiting <> '{}') as some) w;
$$;

-- Fire schedules: an array of {"name", "expected", "slots", "next", "spec"}. Answers with a row per run that was started.
create or replace function pgflow.fire_schedules(firings jsonb)
returns table (schedule text, slot timestamptz, run_id uuid, flow_slug text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  f record;
begin
  for f in
    select e.value ->> 'name' as name, (e.value ->> 'expected')::timestamptz as expected, e.value -> 'spec' as spec,
      (e.value ->> 'next')::timestamptz as next_at,
      array(select v::timestamptz from jsonb_array_elements_text(e.value -> 'slots') v) as slots
    from jsonb_array_elements(firings) e
  loop
    return query select * from pgflow.fire_schedule(f.name, f.expected, f.slots, f.next_at, f.spec);
  end loop;
end
$$;

-- Decide about all slots from `expected` up to before `next_at`: those in `slots` fire, or wait, or are skipped as the
-- schedule's overlap says; the others were missed. Nothing happens if somebody else decided, or does so now: then next_at
-- is no longer what we expect, or its row is locked. Nor if its times are others than `spec`, which the slots are of.
create or replace function pgflow.fire_schedule(
  name text, expected timestamptz, slots timestamptz[], next_at timestamptz, spec jsonb default null
) returns table (schedule text, slot timestamptz, run_id uuid, flow_slug text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  most_waiting constant int := 1000;
  s pgflow.schedules;
  running uuid[];
  undecided timestamptz[];
  starting timestamptz[] := '{}';
  started pgflow.fired[] := '{}';
  failure text;
begin
  select * into s from pgflow.schedules o
  where o.name = fire_schedule.name and o.next_at = expected and o.paused_at is null
    and o.spec = coalesce(fire_schedule.spec, o.spec)
  for no key update skip locked;
  if not found then
    return;
  end if;
  running := pgflow.still_live(s.live);
  undecided := s.waiting || slots;
  if s.overlap = 'allow' then
    starting := undecided;
  elsif running = '{}' then
    starting := undecided[1:1];
  end if;
  if starting <> '{}' then
    begin
      started := pgflow.start_slots(s, starting);
    exception when others then
      -- what a later try can mend is tried again; the rest is said, and does not keep later slots from being tried
      if left(sqlstate, 2) not in ('PF', 'P0', '22', '23') then
        raise;
      end if;
      failure := sqlerrm;
    end;
    undecided := undecided[cardinality(starting) + 1:];
  end if;
  update pgflow.schedules o
  set next_at = fire_schedule.next_at,
      waiting = case when s.overlap = 'queue' then undecided[:most_waiting] else '{}' end,
      live = case when s.overlap = 'allow' then '{}' else running end || array(select f.run_id from unnest(started) f),
      last_slot = coalesce((select max(f.slot) from unnest(started) f), o.last_slot),
      last_run_id = coalesce((select f.run_id from unnest(started) f order by f.slot desc limit 1), o.last_run_id),
      error_message = case when starting = '{}' then o.error_message else failure end
  where o.name = s.name;
  return query select s.name, f.slot, f.run_id, s.flow_slug from unnest(started) f where f.created;
end
$$;

-- A run for each slot. Its key is taken for as long as the run is kept, so that a slot never has a second one.
create or replace function pgflow.start_slots(s pgflow.schedules, slots timestamptz[]) returns pgflow.fired[]
language sql volatile as $$
  select array_agg((slots[r.position], r.run_id, r.created)::pgflow.fired order by r.position)
  from pgflow.start_runs(
    s.flow_slug, array_fill(s.input, array[cardinality(slots)]), null,
    array(select pgflow.slot_key(s.name, w.slot) from unnest(slots) with ordinality w (slot, place) order by w.place),
    null,
    array_fill(s.options || '{"key_until": "infinity"}' || jsonb_strip_nulls(jsonb_build_object('version', s.version)),
      array[cardinality(slots)])) r;
$$;

create or replace function pgflow.slot_key(name text, slot timestamptz) returns text
language sql stable as $$
  select format('schedule:%s:%s', name,
    replace(to_char(slot at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z'));
$$;

create or replace function pgflow.still_live(run_ids uuid[]) returns uuid[]
language sql stable as $$
  select array(
    select r.run_id from unnest(run_ids) w (id) join pgflow.runs r on r.run_id = any (array[w.id])
    where r.status = 'started');
$$;

-- Start a run now, whatever overlaps; also of a paused schedule. Its slots stay as they are. Repeated with the same run
-- id it starts nothing more.
create or replace function pgflow.trigger_schedule(name text, new_run_id uuid, actor text default null)
returns table (run_id uuid, flow_slug text, created boolean)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  s constant pgflow.schedules := pgflow.lock_schedule(trigger_schedule.name);
  started record;
begin
  select * into started from pgflow.start_runs(
    s.flow_slug, array[s.input], array[new_run_id],
    array[format('schedule:%s:trigger:%s', s.name, new_run_id)], null,
    array[s.options || jsonb_strip_nulls(jsonb_build_object('version', s.version))]);
  if started.created then
    update pgflow.schedules o
    set live = case when o.overlap = 'allow' then '{}' else pgflow.still_live(o.live) end || started.run_id,
        last_run_id = started.run_id
    where o.name = s.name;
    perform pgflow.write_audit(pgflow.now(), actor, 'trigger', 'schedule', s.name, started.run_id);
  end if;
  return query select started.run_id, s.flow_slug, started.created;
end
$$;

-- No slot fires until it is resumed. False: it was paused already.
create or replace function pgflow.pause_schedule(name text, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  s constant pgflow.schedules := pgflow.lock_schedule(name);
begin
  if s.paused_at is not null then
    return false;
  end if;
  update pgflow.schedules o set paused_at = pgflow.now() where o.name = s.name;
  perform pgflow.write_audit(pgflow.now(), actor, 'pause', 'schedule', s.name, null);
  return true;
end
$$;

-- Slots fire again; what of the pause is made up for is its catch_up's business. False: it was not paused.
create or replace function pgflow.resume_schedule(name text, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  s constant pgflow.schedules := pgflow.lock_schedule(name);
begin
  if s.paused_at is null then
    return false;
  end if;
  update pgflow.schedules o set paused_at = null, resumed_at = pgflow.now() where o.name = s.name;
  perform pgflow.write_audit(pgflow.now(), actor, 'resume', 'schedule', s.name, null);
  return true;
end
$$;

-- Its runs stay. Code that still has it makes it anew when it is deployed again.
create or replace function pgflow.delete_schedule(name text, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  s constant pgflow.schedules := pgflow.lock_schedule(name);
begin
  delete from pgflow.schedules o where o.name = s.name;
  perform pgflow.write_audit(pgflow.now(), actor, 'delete', 'schedule', s.name, null);
  return true;
end
$$;

-- All schedules by name, or the one of that name.
create or replace function pgflow.list_schedules(name text default null) returns setof pgflow.schedules
language sql stable set search_path = pg_catalog, pg_temp as $$
  select * from pgflow.schedules s where list_schedules.name is null or s.name = list_schedules.name order by s.name;
$$;

create or replace function pgflow.lock_schedule(name text) returns pgflow.schedules
language plpgsql as $$
declare
  s pgflow.schedules;
begin
  select * into s from pgflow.schedules o where o.name = lock_schedule.name for update;
  if not found then
    perform pgflow.raise('PF404', format('no schedule %L in this database', lock_schedule.name),
      'Start a worker that has it, or deploy it.');
  end if;
  return s;
end
$$;
