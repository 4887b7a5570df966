-- PLAN, ends before the end: conditions, skips and their cascades, type violations, and how a run fails.

-- Resolve steps whose dependencies are all resolved. `starting` go on; `passed` were skipped or are empty and
-- release their children; `below` were skipped by a cascade. An unmet condition that fails its run leaves
-- the run's other steps of this wave alone.
create or replace function pgflow.resolve_wave(
  ready pgflow.step_ref[], at timestamptz,
  out starting pgflow.step_ref[], out passed pgflow.step_ref[], out below pgflow.step_ref[]
) language plpgsql as $$
declare
  doomed pgflow.step_ref[];
  skipped pgflow.step_ref[];
  cascading pgflow.step_ref[];
  empty pgflow.step_ref[];
begin
  with judged as (
    select * from pgflow.judge_ready(ready)
  ), fatal as (
    select distinct on (j.run_id) j.run_id, j.ref from judged j where j.verdict = 'fail' order by j.run_id, j.step_index
  ), live as (
    select j.ref, j.verdict from judged j where not exists (select from fatal f where f.run_id = j.run_id)
  )
  select coalesce((select array_agg(f.ref) from fatal f), '{}'),
    coalesce(array_agg(l.ref) filter (where l.verdict = 'start'), '{}'),
    coalesce(array_agg(l.ref) filter (where l.verdict = 'empty'), '{}'),
    coalesce(array_agg(l.ref) filter (where l.verdict = 'skip'), '{}'),
    coalesce(array_agg(l.ref) filter (where l.verdict = 'skip-cascade'), '{}')
  into doomed, starting, empty, skipped, cascading
  from live l;

  if doomed <> '{}' then
    perform pgflow.fail_steps(doomed, array(select 'Condition not met' from unnest(doomed)), at);
    if pgflow.somebody_listens() then perform pgflow.tell_failures(doomed); end if;
  end if;
  if empty <> '{}' then
    perform pgflow.complete_empty(empty, at);
  end if;
  perform pgflow.skip_steps(skipped || cascading, 'condition_unmet', at);
  passed := skipped || empty;
  below := pgflow.skip_below(cascading, at);
  if pgflow.somebody_listens() then perform pgflow.tell_resolved(skipped, cascading, below, empty); end if;
  below := cascading || below;
end
$$;

create or replace function pgflow.judge_ready(ready pgflow.step_ref[])
returns table (run_id uuid, ref pgflow.step_ref, step_index int, verdict text)
language sql stable as $$
  select u.run_id, (u.run_id, u.version_id, u.step_slug)::pgflow.step_ref, s.step_index,
    case when (s.required_input_pattern is not null or s.forbidden_input_pattern is not null)
        and not pgflow.condition_met(u.run_id, s) then s.when_unmet
      when t.initial_tasks = 0 then 'empty' else 'start' end
  from unnest(ready) u
  join pgflow.steps s on s.version_id = any (array[u.version_id]) and s.step_slug = u.step_slug
  cross join lateral (
    select t.initial_tasks from pgflow.step_states t
    where t.run_id = u.run_id and t.step_slug = u.step_slug and t.status = 'created' offset 0) t;
$$;

-- A root step's patterns are about the flow's input. A dependent step's are about its dependencies' outputs by
-- step, and about the flow's input under the name flow_input.
create or replace function pgflow.condition_met(run uuid, step pgflow.steps) returns boolean
language plpgsql stable as $$
declare
  subject jsonb;
begin
  if step.deps_count = 0 then
    select r.input into subject from pgflow.runs r where r.run_id = run;
  else
    subject := pgflow.outputs_for(run, step.version_id, step.step_slug);
    if step.required_input_pattern ? 'flow_input' or step.forbidden_input_pattern ? 'flow_input' then
      select jsonb_build_object('flow_input', r.input) || subject into subject from pgflow.runs r where r.run_id = run;
    end if;
  end if;
  return (step.required_input_pattern is null or subject @> step.required_input_pattern)
    and (step.forbidden_input_pattern is null or not subject @> step.forbidden_input_pattern);
end
$$;

-- A map without elements, or a step behind one, is complete without a task.
create or replace function pgflow.complete_empty(empty pgflow.step_ref[], at timestamptz) returns void
language sql as $$
  update pgflow.step_states t
  set status = 'completed', remaining_tasks = 0, started_at = greatest(at, t.created_at),
      completed_at = greatest(at, t.created_at), output = case when 'map' = (
        select s.step_type from pgflow.steps s where s.version_id = u.version_id and s.step_slug = u.step_slug) then '[]'::jsonb end
  from unnest(empty) u
  where t.run_id = any (array[u.run_id]) and t.step_slug = u.step_slug;
$$;

create or replace function pgflow.skip_steps(
  steps pgflow.step_ref[], reason text, at timestamptz, messages text[] default null
) returns void
language sql as $$
  update pgflow.step_states s
  set status = 'skipped', skip_reason = reason, skipped_at = greatest(at, s.created_at), remaining_tasks = null,
      error_message = coalesce(u.message, s.error_message)
  from unnest(steps, messages) as u (run_id, version_id, step_slug, message)
  where s.run_id = any (array[u.run_id]) and s.step_slug = u.step_slug;
$$;

-- Skip all that follows these steps and has not ended; answer with what was skipped. Each step is visited once.
create or replace function pgflow.skip_below(steps pgflow.step_ref[], at timestamptz) returns pgflow.step_ref[]
language sql as $$
  with recursive below as (
    select u.run_id, u.version_id, d.step_slug
    from unnest(steps) u join pgflow.deps d on d.version_id = any (array[u.version_id]) and d.dep_slug = u.step_slug
    union
    select b.run_id, b.version_id, d.step_slug
    from below b join pgflow.deps d on d.version_id = any (array[b.version_id]) and d.dep_slug = b.step_slug
  ), skipped as (
    update pgflow.step_states s
    set status = 'skipped', skip_reason = 'dependency_skipped', skipped_at = greatest(at, s.created_at),
        remaining_tasks = null
    from below b
    where s.run_id = any (array[b.run_id]) and s.step_slug = b.step_slug and s.status in ('created', 'started')
    returning (b.run_id, b.version_id, b.step_slug)::pgflow.step_ref as ref
  )
  select coalesce(array_agg(s.ref), '{}') from skipped s;
$$;

-- Steps with a task that is out of attempts: fail the run, or skip the step, alone or with all that follows it.
create or replace function pgflow.exhaust_steps(
  exhausted pgflow.entry[], at timestamptz, out passed pgflow.step_ref[], out below pgflow.step_ref[]
) language plpgsql as $$
declare
  failed pgflow.step_ref[];
  failed_messages text[];
  skipped pgflow.step_ref[];
  skipped_messages text[];
  cascading pgflow.step_ref[];
begin
  with ended as (                            -- a round holds one exhausted task per run (judge.sql)
    select e.verdict, e.error_message, (e.run_id, e.version_id, e.step_slug)::pgflow.step_ref as ref from unnest(exhausted) e
  )
  select coalesce(array_agg(e.ref) filter (where e.verdict = 'fail'), '{}'),
    array_agg(e.error_message) filter (where e.verdict = 'fail'),
    coalesce(array_agg(e.ref) filter (where e.verdict <> 'fail'), '{}'),
    array_agg(e.error_message) filter (where e.verdict <> 'fail'),
    coalesce(array_agg(e.ref) filter (where e.verdict = 'skip'), '{}'),
    coalesce(array_agg(e.ref) filter (where e.verdict = 'skip-cascade'), '{}')
  into failed, failed_messages, skipped, skipped_messages, passed, cascading
  from ended e;

  if failed <> '{}' then
    perform pgflow.fail_steps(failed, failed_messages, at);
    if pgflow.somebody_listens() then perform pgflow.tell_failures(failed); end if;
  end if;
  below := '{}';
  if skipped <> '{}' then
    perform pgflow.skip_steps(skipped, 'handler_failed', at, skipped_messages);
    perform pgflow.close_steps(skipped);
    below := pgflow.skip_below(cascading, at);
    if pgflow.somebody_listens() then perform pgflow.tell_steps('exhausted', skipped), pgflow.tell_steps('skipped', below); end if;
    below := cascading || below;
  end if;
end
$$;

create or replace function pgflow.close_steps(steps pgflow.step_ref[]) returns void
language plpgsql as $$
declare
  gates constant text[] := array(
    select t.concurrency_key from (          -- locked first: a wake-up may just be on its way
      select t.concurrency_key, t.stage from unnest(steps) u join pgflow.step_tasks t
        on t.run_id = any (array[u.run_id]) and t.step_slug = u.step_slug
      where t.concurrency_key is not null offset 0 for update of t) t
    where t.stage = 'ready');
begin
  update pgflow.step_tasks t set stage = 'closed', claim_token = null, waiting = false
  from unnest(steps) u
  where t.run_id = any (array[u.run_id]) and t.step_slug = u.step_slug and t.stage || '' <> 'closed';
  if gates <> '{}' then
    perform pgflow.wake_gates(gates);
  end if;
end
$$;

-- A step that a map waits for must give a list. What gave something else fails its run; the others stay in `done`.
create or replace function pgflow.fail_violations(
  inout done pgflow.step_ref[], inout counts int[], at timestamptz
) language plpgsql as $$
declare
  failed pgflow.step_ref[];
  produced text[];
  messages text[];
begin
  select array_agg((v.run_id, v.version_id, v.step_slug)::pgflow.step_ref), array_agg(v.produced), array_agg(format(
    '[TYPE_VIOLATION] Map step %s expects array input but dependency %s produced %s', v.child, v.step_slug, v.produced))
  into failed, produced, messages
  from (
    select distinct on (d.run_id, d.step_slug) d.run_id, d.version_id, d.step_slug, c.step_slug as child,
      coalesce(jsonb_typeof(t.output), 'null') as produced
    from unnest(done) d
    join pgflow.steps s on s.version_id = any (array[d.version_id]) and s.step_slug = d.step_slug and s.step_type <> 'map'
    join pgflow.deps c on c.version_id = any (array[d.version_id]) and c.dep_slug = d.step_slug
    join pgflow.steps m on m.version_id = any (array[c.version_id]) and m.step_slug = c.step_slug and m.step_type = 'map'
    cross join lateral (
      select from pgflow.step_states w
      where w.run_id = d.run_id and w.step_slug = c.step_slug and w.initial_tasks is null offset 0) w
    cross join lateral (
      select t.output from pgflow.step_tasks t where t.run_id = d.run_id and t.step_slug = d.step_slug offset 0) t
    where jsonb_typeof(t.output) is distinct from 'array'
    order by d.run_id, d.step_slug, m.step_index
  ) v;
  if failed is null then
    return;
  end if;
  with marked as (
    update pgflow.step_tasks t
    set status = 'failed', failed_at = t.completed_at, completed_at = null,
        error_message = format('[TYPE_VIOLATION] Produced %s instead of array', v.produced)
    from unnest(failed, produced) as v (run_id, version_id, step_slug, produced)
    where t.run_id = any (array[v.run_id]) and t.step_slug = v.step_slug
    returning t.*
  )
  insert into pgflow.attempts (
    run_id, step_slug, task_index, attempt, error_type, error_message, worker_id, started_at, failed_at)
  select m.run_id, m.step_slug, m.task_index, m.attempts_count, 'TypeViolation', m.error_message, m.last_worker_id,
    m.started_at, m.failed_at
  from marked m;
  perform pgflow.fail_steps(failed, messages, at);
  if pgflow.somebody_listens() then perform pgflow.tell_failures(failed, violated => true); end if;
  select coalesce(array_agg((d.run_id, d.version_id, d.step_slug)::pgflow.step_ref), '{}'), coalesce(array_agg(d.tasks), '{}')
  into done, counts
  from unnest(done, counts) as d (run_id, version_id, step_slug, tasks)
  where not exists (select from unnest(failed) f where f.run_id = d.run_id and f.step_slug = d.step_slug);
end
$$;

-- The steps fail and end their runs, and the runs say why. Other rows of the runs stay as they were, as in pgflow;
-- what could still have been claimed is taken out of the queue.
create or replace function pgflow.fail_steps(steps pgflow.step_ref[], messages text[], at timestamptz) returns void
language plpgsql as $$
begin
  update pgflow.step_states s
  set status = 'failed', failed_at = greatest(at, s.started_at), error_message = u.message
  from unnest(steps, messages) as u (run_id, version_id, step_slug, message)
  where s.run_id = any (array[u.run_id]) and s.step_slug = u.step_slug;

  update pgflow.runs r
  set status = 'failed', failed_at = greatest(at, r.started_at), failed_step = u.step_slug, error_message = u.message
  from unnest(steps, messages) as u (run_id, version_id, step_slug, message)
  where r.run_id = any (array[u.run_id]) and r.status || '' = 'started';
  perform pgflow.close_runs(array(select u.run_id from unnest(steps) u));
end
$$;

-- Nothing of an ended run is claimable, and no outcome of it is written any more. A body that runs keeps its slots until it has
-- ended; who was about to take one leaves it to the next in line.
create or replace function pgflow.close_runs(ended uuid[]) returns void
language plpgsql as $$
declare
  gates constant text[] := array(
    select t.concurrency_key from (          -- locked first: a wake-up may just be on its way
      select t.concurrency_key, t.stage from pgflow.step_tasks t
      where t.run_id = any (ended) and t.concurrency_key is not null offset 0 for update) t
    where t.stage = 'ready');
begin
  update pgflow.step_tasks t set stage = 'closed', claim_token = null, waiting = false
  where t.run_id = any (ended) and t.stage || '' <> 'closed';
  if gates <> '{}' then
    perform pgflow.wake_gates(gates);
  end if;
end
$$;
