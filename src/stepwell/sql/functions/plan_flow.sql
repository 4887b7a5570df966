-- PLAN, flows: from steps that ended to steps that start, for any number of runs at once. The caller holds the runs.
--
-- A flow is resolved in waves. A wave takes the steps whose dependencies are all resolved and says of each: it
-- starts, it is empty, or its condition is unmet. What was skipped or empty releases its children: the next wave.

-- Count completed tasks down; answer with the steps that are complete now. A single step's output is its task's;
-- a map's is the list of its tasks' outputs in order. (Subqueries, not functions: a function call costs 20 µs a row.)
create or replace function pgflow.count_down(done pgflow.step_ref[], counts int[], at timestamptz)
returns pgflow.step_ref[]
language plpgsql as $$
declare
  result pgflow.step_ref[];
begin
  with counted as (
    update pgflow.step_states s
    set remaining_tasks = s.remaining_tasks - d.tasks,
        status = case when s.remaining_tasks = d.tasks then 'completed' else s.status end,
        completed_at = case when s.remaining_tasks = d.tasks then greatest(at, s.started_at) end,
        output = case when s.remaining_tasks <> d.tasks then null
          when 'map' <> (
            select p.step_type from pgflow.steps p where p.version_id = d.version_id and p.step_slug = d.step_slug) then (
            select t.output from pgflow.step_tasks t
            where t.run_id = s.run_id and t.step_slug = s.step_slug and t.task_index = 0)
          else (
            select jsonb_agg(coalesce(t.output, 'null') order by t.task_index)
            from pgflow.step_tasks t where t.run_id = s.run_id and t.step_slug = s.step_slug) end
    from unnest(done, counts) as d (run_id, version_id, step_slug, tasks)
    where s.run_id = any (array[d.run_id]) and s.step_slug = d.step_slug and s.status || '' = 'started'
    returning s.status, (d.run_id, d.version_id, d.step_slug)::pgflow.step_ref as ref
  )
  select coalesce(array_agg(c.ref) filter (where c.status = 'completed'), '{}') into result from counted c;
  if pgflow.somebody_listens() then perform pgflow.tell_steps('completed', result); end if;
  return result;
end
$$;

-- Go on from `finished` (completed or plainly skipped) and from `ready` steps, as far as the runs can go.
-- `resolved` are steps that count as done but release nobody (skipped with all that follows them).
create or replace function pgflow.advance_flows(
  ready pgflow.step_ref[], finished pgflow.step_ref[], resolved pgflow.step_ref[], at timestamptz,
  worker uuid, lane_queues text[], lane_versions int[], want int, out handed bigint[], out woken text[]
) language plpgsql as $$
declare
  starting pgflow.step_ref[] := '{}';
  released record := pgflow.release_children(finished);
  wave record;
begin
  ready := ready || released.ready;
  resolved := resolved || finished;
  while ready <> '{}' loop
    if ready = released.ready and released.plain then
      starting := starting || ready;
      exit;
    end if;
    wave := pgflow.resolve_wave(ready, at);
    starting := starting || wave.starting;
    resolved := resolved || wave.passed || wave.below;
    released := pgflow.release_children(wave.passed);
    ready := released.ready;
  end loop;
  if starting <> '{}' then
    select s.handed, s.woken into handed, woken
    from pgflow.start_steps(starting, at, worker, lane_queues, lane_versions, want) s;
  end if;
  if resolved <> '{}' then
    perform pgflow.settle_runs(resolved, at);
  end if;
end
$$;

-- Tell the children of finished steps; answer with those that wait for nothing any more. A map child learns how
-- many elements it has; too many are refused. `plain`: none of them has a condition or is empty, so all of them start.
create or replace function pgflow.release_children(
  finished pgflow.step_ref[], out ready pgflow.step_ref[], out plain boolean
) language plpgsql as $$
declare
  widest int;
begin
  with edge as (
    select f.run_id, f.version_id, c.step_slug, count(*)::int as parents, bool_or(
        s.required_input_pattern is not null or s.forbidden_input_pattern is not null) as conditional,
      max(case when s.step_type = 'map' then (   -- as many elements as the parent gives
        select case when t.status = 'skipped' then 0 when p.step_type = 'map' then t.initial_tasks
          when jsonb_typeof(t.output) = 'array' then jsonb_array_length(t.output) end
        from pgflow.step_states t join pgflow.steps p on p.version_id = f.version_id and p.step_slug = t.step_slug
        where t.run_id = f.run_id and t.step_slug = f.step_slug) end) as elements
    from unnest(finished) f
    join pgflow.deps c on c.version_id = any (array[f.version_id]) and c.dep_slug = f.step_slug
    join pgflow.steps s on s.version_id = any (array[c.version_id]) and s.step_slug = c.step_slug
    group by f.run_id, f.version_id, c.step_slug
  ), released as (
    update pgflow.step_states s
    set remaining_deps = s.remaining_deps - e.parents, initial_tasks = coalesce(s.initial_tasks, e.elements)
    from edge e
    where s.run_id = any (array[e.run_id]) and s.step_slug = e.step_slug
    returning s.remaining_deps = 0 and s.status = 'created' as ready, e.conditional or s.initial_tasks = 0 as judged,
      s.initial_tasks as elements, (e.run_id, e.version_id, e.step_slug)::pgflow.step_ref as ref
  )
  select coalesce(array_agg(r.ref), '{}'), coalesce(not bool_or(r.judged), true), max(r.elements)
  into ready, plain, widest from released r where r.ready;
  if widest > 10000 then
    perform pgflow.check_width(ready);
  end if;
end
$$;

-- Steps of live runs become started, and get their tasks.
create or replace function pgflow.start_steps(
  starting pgflow.step_ref[], at timestamptz, worker uuid, lane_queues text[], lane_versions int[], want int,
  out handed bigint[], out woken text[]
) language plpgsql as $$
declare
  started pgflow.step_ref[];
begin
  with updated as (
    update pgflow.step_states s
    set status = 'started', started_at = greatest(at, s.created_at), remaining_tasks = s.initial_tasks
    from unnest(starting) u join pgflow.runs r on r.run_id = any (array[u.run_id]) and r.status || '' = 'started'
    where s.run_id = any (array[u.run_id]) and s.step_slug = u.step_slug
    returning (u.run_id, u.version_id, u.step_slug)::pgflow.step_ref as ref
  )
  select coalesce(array_agg(u.ref), '{}') into started from updated u;
  if pgflow.somebody_listens() then perform pgflow.tell_steps('started', started); end if;
  select i.handed, i.woken into handed, woken
  from pgflow.insert_tasks(started, at, worker, lane_queues, lane_versions, want) i;
end
$$;

-- One task for a step, one per element for a map. Up to `want` that the worker serves are inserted as
-- claimed by it, which saves the claim; the others are ready, or delayed until their start delay is over. What has limits
-- is admitted by the claim alone. A signal step gets the signal that is there, or waits for it.
create or replace function pgflow.insert_tasks(
  started pgflow.step_ref[], at timestamptz, worker uuid, lane_queues text[], lane_versions int[], want int,
  out handed bigint[], out woken text[]
) language plpgsql as $$
declare
  listeners bigint[];
  announced text[];
begin
  with fresh as (
    select s.flow_slug, u.run_id, u.version_id, u.step_slug, least(r.priority, coalesce(s.opt_priority, r.priority)) as priority,
      coalesce(v.queue, s.flow_slug) as queue, r.fairness_key, r.fairness_weight, r.paused_at,
      coalesce(s.opt_start_delay, 0) as delay, coalesce(e.index - 1, 0) as task_index, e.value, s.signal_name, s.opt_signal_timeout,
      case when s.opt_concurrency_by is null then s.opt_concurrency else coalesce(
        pgflow.completed_by(s.opt_concurrency, s.opt_concurrency_by, e.value),
        pgflow.completed_by(s.opt_concurrency, s.opt_concurrency_by, r.input)) end as gate,
      case when s.opt_rate_by is null then s.opt_rate else coalesce(
        pgflow.completed_by(s.opt_rate, s.opt_rate_by, e.value), pgflow.completed_by(s.opt_rate, s.opt_rate_by, r.input)) end as rate,
      s.opt_weight as weight
    from unnest(started) u
    join pgflow.steps s on s.version_id = any (array[u.version_id]) and s.step_slug = u.step_slug
    join pgflow.versions v on v.version_id = any (array[u.version_id])
    join pgflow.runs r on r.run_id = any (array[u.run_id])
    left join lateral jsonb_array_elements(case when s.step_type = 'map' then
        case when s.deps_count = 0 then r.input else (
          select p.output from pgflow.deps d
          join pgflow.step_states p on p.run_id = u.run_id and p.step_slug = d.dep_slug
          where d.version_id = u.version_id and d.step_slug = u.step_slug) end
      end) with ordinality as e (value, index) on true
  ), offered as (
    select f.*, f.served and row_number() over (partition by f.served order by f.priority) <= want as handed
    from (
      select f.*, want > 0 and f.delay = 0 and num_nonnulls(f.gate, f.rate, f.signal_name, f.paused_at, f.fairness_key) = 0
        and exists (
          select from unnest(lane_queues, lane_versions) l (queue, version_id)
          where l.queue = f.queue and l.version_id = f.version_id) as served
      from fresh f) f
  ), inserted as (
    insert into pgflow.step_tasks (
      flow_slug, run_id, step_slug, task_index, version_id, queue, priority, input, queued_at, ready_at,
      stage, status, claim_token, attempts_count, started_at, last_worker_id,
      concurrency_key, rate_limit, weight, fairness_key, fairness_weight, awaits, waiting)
    select o.flow_slug, o.run_id, o.step_slug, o.task_index, o.version_id, o.queue, o.priority, o.value, at,
      case when o.signal_name is not null and o.opt_signal_timeout is null then 'infinity'
        else at + make_interval(secs => o.delay + coalesce(o.opt_signal_timeout, 0)) end,
      case when o.handed then 'running' when o.delay > 0 or o.opt_signal_timeout is not null then 'delayed'
        when o.signal_name is not null then 'parked' else 'ready' end,
      case when o.handed then 'started' else 'queued' end,
      case when o.handed then nextval('pgflow.claim_tokens') end,
      case when o.handed then 1 else 0 end,
      case when o.handed then at end,
      case when o.handed then worker end,
      o.gate, o.rate, o.weight, coalesce(o.fairness_key, ''), o.fairness_weight,
      case when o.signal_name is not null then array[o.signal_name] end, o.signal_name is not null
    from offered o
    returning message_id, stage, queue, waiting, flow_slug
  )
  select coalesce(array_agg(i.message_id) filter (where i.stage = 'running'), '{}'),
    coalesce(array_agg(distinct i.queue) filter (where i.stage <> 'running'), '{}'),
    array_agg(i.message_id order by i.message_id) filter (where i.waiting),
    array_agg(distinct i.flow_slug) filter (where i.stage = 'ready' and i.flow_slug in (select a.flow_slug from pgflow.announced a))
  into handed, woken, listeners, announced
  from inserted i;
  if announced is not null then
    perform pgflow.announce_tasks(announced);
  end if;
  if listeners is not null then
    perform pgflow.receive_signals(listeners, at);
  end if;
end
$$;

-- Count resolved steps off their runs; a run with none left is complete. Its output are the outputs of the completed
-- steps that nobody depends on; null when there are none. (A reference without a step counts none off, and asks only that.)
create or replace function pgflow.settle_runs(resolved pgflow.step_ref[], at timestamptz) returns void
language plpgsql as $$
begin
  update pgflow.runs r
  set remaining_steps = r.remaining_steps - d.steps,
      status = case when r.remaining_steps = d.steps and r.status || '' = 'started' then 'completed' else r.status end,
      completed_at = case when r.remaining_steps = d.steps and r.status || '' = 'started' then greatest(at, r.started_at) end,
      output = case when r.remaining_steps = d.steps and r.status || '' = 'started' then (
        select jsonb_object_agg(t.step_slug, coalesce(t.output, 'null'))
        from pgflow.step_states t
        where t.run_id = r.run_id and t.status = 'completed'
          and not exists (
            select from pgflow.deps c where c.version_id = r.version_id and c.dep_slug = t.step_slug)) end
  from (select u.run_id, count(u.step_slug)::int as steps from unnest(resolved) u group by u.run_id) d
  where r.run_id = any (array[d.run_id]);
  if pgflow.somebody_listens() then perform pgflow.tell_runs('completed', array(select distinct u.run_id from unnest(resolved) u)); end if;
end
$$;
