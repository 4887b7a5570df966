-- START: runs and their first tasks.

-- Start many runs of one version of a flow, a machine or a job, in one statement each for runs, steps and tasks. The same
-- run id, or a key that is taken, answers with the run that has it (created = false), so a repeated call starts nothing
-- twice. version_id null: the current version, or the one that options name by number. Options of a run, all optional:
-- priority queue delay at concurrency rate weight fairness fairness_weight step; key_until (a time, or infinity) or
-- unique_for (seconds): how long a key stays taken after the end; check_input: another input under the same key is an error;
-- parent join on_parent_end: for children.
create or replace function pgflow.start_runs(
  flow_slug text, inputs jsonb[], run_ids uuid[] default null, keys text[] default null, version_id int default null,
  options jsonb[] default null
) returns table ("position" int, run_id uuid, created boolean)
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  flow constant pgflow.flows := pgflow.flow_named(start_runs.flow_slug);
  shape constant int := coalesce(start_runs.version_id, pgflow.version_numbered(flow, (options[1] ->> 'version')::int));
  at constant timestamptz := pgflow.now();
  ids constant uuid[] := coalesce(run_ids, array(select pgflow.new_run_id() from unnest(inputs)));
  optional constant boolean := array_remove(options, null) <> '{}';
  fresh uuid[];
begin
  if not exists (select from pgflow.versions v where v.version_id = shape and v.flow_slug = flow.flow_slug) then
    perform pgflow.raise('PF404', format('flow %L has no version with the id %s in this database', flow.flow_slug, shape),
      'Deploy it again.');
  end if;
  perform pgflow.check_inputs(flow.flow_slug, shape, inputs);
  if optional then
    perform pgflow.check_limits(
      array(select o ->> 'concurrency' from unnest(options) o), array(select o ->> 'rate' from unnest(options) o),
      array(select (o ->> 'weight')::float8 from unnest(options) o));
  end if;
  if array_remove(keys, null) <> '{}' then   -- a key that was kept for a time is free after it
    update pgflow.runs r set key_guard = null
    where r.key_guard = any (keys) and r.status || '' <> 'started' and r.key_until <= at;
  end if;
  with wanted as (
    select w.id, case when flow.kind <> 'flow' and w.input = 'null' then '{}' else w.input end as input, w.key, w.option
    from unnest(ids, inputs, keys, options) with ordinality as w (id, input, key, option, place)
    -- two callers with the same keys take them in the same order; of one caller's twins the first counts
    order by w.key, case when w.key is null then w.id end, w.place
  ), inserted as (
    insert into pgflow.runs (run_id, flow_slug, version_id, kind, input, state, key, key_guard, key_until, remaining_steps,
      started_at, priority, fairness_key, fairness_weight, parent_run_id, join_id, on_parent_end)
    select w.id, flow.flow_slug, shape, flow.kind, w.input, case when flow.kind = 'machine' then w.input end, w.key, w.key,
      case when w.option ? 'unique_for' then at + make_interval(secs => (w.option ->> 'unique_for')::float8)
        else (w.option ->> 'key_until')::timestamptz end,
      case when flow.kind = 'flow' then s.steps else 1 end, at, coalesce((w.option ->> 'priority')::smallint, flow.opt_priority),
      coalesce(w.option ->> 'fairness', w.input #>> flow.opt_fairness_by), (w.option ->> 'fairness_weight')::real,
      (w.option ->> 'parent')::uuid, (w.option ->> 'join')::bigint, w.option ->> 'on_parent_end'
    from wanted w, (select count(*) as steps from pgflow.steps s where s.version_id = shape) s
    on conflict do nothing
    returning run_id
  )
  select coalesce(array_agg(i.run_id), '{}') into fresh from inserted i;
  if flow.kind <> 'flow' then
    perform pgflow.begin_machines(flow, shape, at, fresh, ids, options);
  elsif fresh <> '{}' then
    perform pgflow.begin_runs(fresh, shape, at);
    if optional then
      perform pgflow.delay_runs(fresh, ids, options, at);
    end if;
  end if;
  if flow.opt_fairness_by is not null or optional then
    perform pgflow.share_queues(fresh);
  end if;

  return query
  select w.position::int,
    case when f.id is null then pgflow.run_started_as(w.id, w.key, flow.flow_slug,
      case when w.option ->> 'check_input' = 'true' then w.input end) else w.id end,
    f.id is not null and row_number() over (partition by w.id order by w.position) = 1
  from unnest(ids, keys, inputs, options) with ordinality as w (id, key, input, option, "position")
  left join unnest(fresh) as f (id) on f.id = w.id
  order by w.position;
end
$$;

create or replace function pgflow.version_numbered(flow pgflow.flows, number int) returns int
language plpgsql stable as $$
declare
  found_id int := flow.version_id;
begin
  if number is not null then
    select v.version_id into found_id from pgflow.versions v where v.flow_slug = flow.flow_slug and v.version = number;
    if not found then
      perform pgflow.raise('PF404', format('%s %L has no version %s in this database', flow.kind, flow.flow_slug, number),
        'Start a worker that has it, or deploy it.');
    end if;
  end if;
  return found_id;
end
$$;

-- Tell the workers that listen that these flows have something to do. Not part of a start: NOTIFY takes a lock on the
-- whole database when its transaction commits, so a caller that starts much sends one for many.
create or replace function pgflow.wake_flows(flow_slugs text[]) returns setof text
language plpgsql set search_path = '' as $$
declare
  queue text;
begin
  for queue in
    select distinct coalesce(v.queue, v.flow_slug)
    from pgflow.flows f join pgflow.versions v on v.version_id = f.version_id
    where f.flow_slug = any (flow_slugs)
  loop
    perform pg_notify('stepwell', queue);
    return next queue;
  end loop;
end
$$;

create or replace function pgflow.flow_named(slug text) returns pgflow.flows
language plpgsql stable as $$
declare
  flow pgflow.flows;
begin
  select * into flow from pgflow.flows f where f.flow_slug = slug;
  if not found then
    perform pgflow.raise('PF404', format('no flow %L in this database', slug),
      'Start a worker that has it, or deploy it.');
  end if;
  return flow;
end
$$;

-- A map over the flow's input needs an array.
create or replace function pgflow.check_inputs(flow_slug text, version int, inputs jsonb[]) returns void
language plpgsql stable as $$
declare
  kind text;
begin
  if not exists (
    select from pgflow.steps s where s.version_id = version and s.step_type = 'map' and s.deps_count = 0) then
    return;
  end if;
  for kind in select coalesce(jsonb_typeof(i), 'NULL') from unnest(inputs) i loop
    if kind = 'NULL' then
      raise exception 'Flow % has root map steps but input is NULL', flow_slug;
    elsif kind <> 'array' then
      raise exception 'Flow % has root map steps but input is not an array (got %)', flow_slug, kind;
    end if;
  end loop;
end
$$;

-- Which run answers for this id and key.
create or replace function pgflow.run_started_as(id uuid, key text, flow_slug text, input jsonb) returns uuid
language plpgsql stable as $$
declare
  run pgflow.runs;
begin
  select * into run from pgflow.runs r
  where r.run_id = id or r.key_guard = run_started_as.key
  order by r.run_id <> id limit 1;
  if run.flow_slug <> run_started_as.flow_slug then
    perform pgflow.raise('PF409',
      case when run.run_id = id then format('the run id %s belongs to a run of %s %L', id, run.kind, run.flow_slug)
        else format('key %L belongs to run %s of %s %L', run_started_as.key, run.run_id, run.kind, run.flow_slug) end,
      'Give runs of different flows different keys and ids.');
  elsif input is not null and run.input <> input then
    perform pgflow.raise('PF409', format('key %L belongs to run %s, which was started with another input',
      coalesce(run_started_as.key, id::text), run.run_id), 'Use a key that says what differs.');
  end if;
  return run.run_id;
end
$$;

-- The one task of each new run of a machine or a job.
create or replace function pgflow.begin_machines(
  flow pgflow.flows, shape int, at timestamptz, fresh uuid[], ids uuid[], options jsonb[]
) returns void
language plpgsql as $$
declare
  unknown text;
begin
  select o ->> 'step' into unknown from unnest(options) o
  where o ? 'step' and not exists (
    select from pgflow.steps s where s.version_id = shape and s.step_slug = o ->> 'step') limit 1;
  if found then
    perform pgflow.raise('PF404', format('%s %L has no step %L', flow.kind, flow.flow_slug, unknown));
  end if;
  with task as (
    select w.place, r.run_id, r.priority, r.fairness_key, r.fairness_weight, r.input, w.option, s.step_slug, v.queue as own_queue,
      coalesce(w.option ->> 'queue', v.queue, flow.flow_slug) as queue,
      greatest((w.option ->> 'at')::timestamptz, at + make_interval(secs => coalesce((w.option ->> 'delay')::float8, 0)), at) as ready_at,
      case when w.option ? 'concurrency' then w.option ->> 'concurrency'
        else pgflow.completed_by(s.opt_concurrency, s.opt_concurrency_by, r.input) end as gate,
      case when w.option ? 'rate' then w.option ->> 'rate'
        else pgflow.completed_by(s.opt_rate, s.opt_rate_by, r.input) end as rate,
      coalesce((w.option ->> 'weight')::float8, s.opt_weight) as weight
    from unnest(fresh) f
    join pgflow.runs r on r.run_id = any (array[f])
    join pgflow.versions v on v.version_id = shape
    join (
      select distinct on (w.id) w.* from unnest(ids, options) with ordinality w (id, option, place) order by w.id, w.place) w on w.id = f
    join pgflow.steps s on s.version_id = shape
      and case when w.option ? 'step' then s.step_slug = w.option ->> 'step' else s.is_initial end
  ), lane as (
    insert into pgflow.lanes (queue, version_id)
    select distinct t.queue, shape from task t where t.queue <> coalesce(t.own_queue, flow.flow_slug) order by 1
    on conflict do nothing
  )
  insert into pgflow.step_tasks (
    flow_slug, run_id, step_slug, version_id, queue, priority, queued_at, ready_at, stage,
    concurrency_key, rate_limit, weight, fairness_key, fairness_weight)
  select flow.flow_slug, t.run_id, t.step_slug, shape, t.queue, t.priority, at, t.ready_at,
    case when t.ready_at > at then 'delayed' else 'ready' end,
    t.gate, t.rate, t.weight, coalesce(t.fairness_key, ''), t.fairness_weight
  from task t
  order by t.place;
end
$$;

-- Flows that shall begin later.
create or replace function pgflow.delay_runs(fresh uuid[], ids uuid[], options jsonb[], at timestamptz) returns void
language sql as $$
  update pgflow.step_tasks t set stage = 'delayed', ready_at = t.ready_at + (d.starts_at - at)
  from (
    select w.id, coalesce((w.option ->> 'at')::timestamptz,
      at + make_interval(secs => (w.option ->> 'delay')::float8)) as starts_at
    from unnest(ids, options) w (id, option) where w.id = any (fresh)) d
  where t.run_id = any (array[d.id]) and t.stage || '' in ('ready', 'delayed') and d.starts_at > at;
$$;

-- Queues that have fairness keys are shared from now on.
create or replace function pgflow.share_queues(fresh uuid[]) returns void
language sql as $$
  insert into pgflow.fair_queues (queue)
  select distinct t.queue
  from unnest(fresh) f
  join pgflow.runs r on r.run_id = any (array[f]) and r.fairness_key is not null
  join pgflow.versions v on v.version_id = any (array[r.version_id])
  cross join lateral (
    select coalesce(v.queue, r.flow_slug) as queue
    union select t.queue from pgflow.step_tasks t where t.run_id = r.run_id and r.kind <> 'flow') t
  order by 1
  on conflict do nothing;
$$;

-- The steps of new runs, and the tasks of those that wait for nothing.
create or replace function pgflow.begin_runs(fresh uuid[], version int, at timestamptz) returns void
language plpgsql as $$
declare
  steps constant int := (select count(*) from pgflow.steps s where s.version_id = version);
  rooted constant boolean := exists (
    select from pgflow.steps s where s.version_id = version and s.deps_count = 0
      and (s.step_type = 'map' or s.required_input_pattern is not null or s.forbidden_input_pattern is not null));
  ready pgflow.step_ref[];
begin
  if fresh = '{}' then
    return;
  end if;
  if steps = 0 then
    update pgflow.runs r set status = 'completed', completed_at = at where r.run_id = any (fresh);
    perform pgflow.free_keys(fresh, at);
    return;
  end if;
  -- plain roots are inserted as started; only a root that can be skipped or empty takes the long way
  insert into pgflow.step_states (
    flow_slug, run_id, step_slug, remaining_deps, initial_tasks, created_at, status, started_at, remaining_tasks)
  select s.flow_slug, r.run_id, s.step_slug, s.deps_count,
    case when s.step_type <> 'map' then 1 when s.deps_count = 0 then jsonb_array_length(r.input) end, at,
    case when plain then 'started' else 'created' end, case when plain then at end, case when plain then 1 end
  from pgflow.runs r
  cross join lateral (
    select s.*, s.deps_count = 0 and not rooted as plain from pgflow.steps s where s.version_id = version) s
  where r.run_id = any (fresh);

  select array_agg((r, version, s.step_slug)::pgflow.step_ref) into ready
  from unnest(fresh) r, pgflow.steps s where s.version_id = version and s.deps_count = 0;
  if rooted then
    perform pgflow.advance_flows(ready, '{}', '{}', at, null, '{}', '{}', 0);
    perform pgflow.free_keys(fresh, at);
  else
    perform pgflow.insert_tasks(ready, at, null, '{}', '{}', 0);
  end if;
end
$$;

-- pgflow's start: one run, and its row as it is now. A run id that was used is a unique violation.
create or replace function pgflow.start_flow(flow_slug text, input jsonb, run_id uuid default null)
returns setof pgflow.runs
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  started record;
begin
  if not exists (select from pgflow.flows f where f.flow_slug = start_flow.flow_slug) then
    raise foreign_key_violation using constraint = 'runs_flow_slug_fkey', table = 'runs', schema = 'pgflow',
      message = 'insert or update on table "runs" violates foreign key constraint "runs_flow_slug_fkey"',
      detail = format('Key (flow_slug)=(%s) is not present in table "flows".', flow_slug);
  end if;
  select * into started from pgflow.start_runs(
    start_flow.flow_slug, array[start_flow.input], case when start_flow.run_id is not null then array[start_flow.run_id] end);
  if not started.created then
    raise unique_violation using constraint = 'runs_pkey', table = 'runs', schema = 'pgflow',
      message = 'duplicate key value violates unique constraint "runs_pkey"',
      detail = format('Key (run_id)=(%s) already exists.', start_flow.run_id);
  end if;
  return query select * from pgflow.runs r where r.run_id = started.run_id;
end
$$;
