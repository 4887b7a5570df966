-- BEGIN: the first tasks of new runs.

-- The one task of each new run of a machine or a job.
create or replace function pgflow.begin_machines(
  flow pgflow.flows, shape int, at timestamptz, fresh uuid[], ids uuid[], options jsonb[]
) returns void
language plpgsql as $$
declare
  unknown text;
begin
  if not exists (select from pgflow.steps s where s.version_id = shape and s.is_initial) then
    perform pgflow.raise('PF422', format('%s %L has no step to begin with', flow.kind, flow.flow_slug));
  end if;
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
      case when w.option ? 'concurrency'
        then pgflow.completed_by(w.option ->> 'concurrency', pgflow.path_in(w.option, 'concurrency_by'), r.input)
        else pgflow.completed_by(s.opt_concurrency, s.opt_concurrency_by, r.input) end as gate,
      case when w.option ? 'rate' then pgflow.completed_by(w.option ->> 'rate', pgflow.path_in(w.option, 'rate_by'), r.input)
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
    if pgflow.somebody_listens() then perform pgflow.tell_runs('completed', fresh); end if;
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
    if pgflow.somebody_listens() then perform pgflow.tell_steps('started', ready); end if;
    perform pgflow.insert_tasks(ready, at, null, '{}', '{}', 0);
  end if;
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
