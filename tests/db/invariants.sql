-- What must hold whenever no transaction is open. Each row of the answer is a rule and who breaks it.
with broken (rule, run_id, step_slug, task_index) as (
  select 'a live run has a task that is ready, delayed or running', r.run_id, null, null::int
  from pgflow.runs r
  where r.status = 'started' and not exists (
    select from pgflow.step_tasks t where t.run_id = r.run_id and t.stage <> 'closed')

  union all
  select 'remaining_steps counts the steps that are neither completed nor skipped', r.run_id, null, null
  from pgflow.runs r
  where r.remaining_steps <> (
    select count(*) from pgflow.step_states s
    where s.run_id = r.run_id and s.status not in ('completed', 'skipped'))

  union all
  select 'a run has the steps of its version', r.run_id, null, null
  from pgflow.runs r
  where array(select s.step_slug from pgflow.step_states s where s.run_id = r.run_id order by 1)
    <> array(select d.step_slug from pgflow.steps d where d.version_id = r.version_id order by 1)

  union all
  select 'a completed run has no step that waits, runs or failed', r.run_id, s.step_slug, null
  from pgflow.runs r join pgflow.step_states s on s.run_id = r.run_id
  where r.status = 'completed' and s.status not in ('completed', 'skipped')

  union all
  select 'a run fails with a step that failed, and only then has one', r.run_id, null, null
  from pgflow.runs r
  where (r.status = 'failed') <> exists (
    select from pgflow.step_states s where s.run_id = r.run_id and s.status = 'failed')

  union all
  select 'an ended run has no open task', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where r.status <> 'started' and t.stage <> 'closed'

  union all
  select 'an open task belongs to a started step', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.step_states s on s.run_id = t.run_id and s.step_slug = t.step_slug
  where s.status <> 'started' and t.stage <> 'closed'

  union all
  select 'a waiting step waits for as many steps as it says, and for at least one', s.run_id, s.step_slug, null
  from pgflow.step_states s join pgflow.runs r on r.run_id = s.run_id
  where r.status = 'started' and s.status = 'created'
    and (s.remaining_deps = 0 or s.remaining_deps <> (
      select count(*) from pgflow.deps d
      join pgflow.step_states p on p.run_id = s.run_id and p.step_slug = d.dep_slug
      where d.version_id = r.version_id and d.step_slug = s.step_slug and p.status not in ('completed', 'skipped')))

  union all
  select 'remaining_tasks counts the tasks of a started step that did not complete', s.run_id, s.step_slug, null
  from pgflow.step_states s
  where s.status = 'started' and s.remaining_tasks is distinct from (
    select count(*) from pgflow.step_tasks t
    where t.run_id = s.run_id and t.step_slug = s.step_slug and t.status <> 'completed')

  union all
  select 'a started or completed step has a task for each element, numbered from 0', s.run_id, s.step_slug, null
  from pgflow.step_states s
  where s.status in ('started', 'completed')
    and (select (count(*), coalesce(min(t.task_index), 0), coalesce(max(t.task_index), -1)) from pgflow.step_tasks t
      where t.run_id = s.run_id and t.step_slug = s.step_slug) is distinct from
      (s.initial_tasks::bigint, 0, s.initial_tasks - 1)

  union all
  select 'all tasks of a completed step completed', s.run_id, s.step_slug, t.task_index
  from pgflow.step_states s join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
  where s.status = 'completed' and (t.status <> 'completed' or t.stage <> 'closed')

  union all
  select 'the output of a map is as long as the map', s.run_id, s.step_slug, null
  from pgflow.step_states s
  join pgflow.runs r on r.run_id = s.run_id
  join pgflow.steps d on d.version_id = r.version_id and d.step_slug = s.step_slug
  where s.status = 'completed' and d.step_type = 'map'
    and case when jsonb_typeof(s.output) = 'array' then jsonb_array_length(s.output) end is distinct from s.initial_tasks

  union all
  select 'a step that waits has no task', s.run_id, s.step_slug, t.task_index
  from pgflow.step_states s join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug
  where s.status = 'created'

  union all
  select 'the stage of a task fits its status', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.stage = 'running' and t.status <> 'started'
    or t.stage in ('ready', 'delayed') and t.status <> 'queued'
    or t.status in ('completed', 'failed') and t.stage <> 'closed'

  union all
  select 'a token belongs to a running task of one worker', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where (t.stage = 'running') <> (t.claim_token is not null) or t.stage = 'running' and t.last_worker_id is null

  union all
  select 'no token is out twice', min(t.run_id::text)::uuid, null, null
  from pgflow.step_tasks t where t.claim_token is not null group by t.claim_token having count(*) > 1

  union all
  select 'a task lies in the lane of its run', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  join pgflow.runs r on r.run_id = t.run_id
  join pgflow.flows f on f.flow_slug = r.flow_slug
  where (t.version_id, t.flow_slug) <> (r.version_id, r.flow_slug)

  union all
  select 'every failed attempt of a task is on record', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.status = 'failed' and t.error_message not like '[TYPE_VIOLATION]%' and not exists (
    select from pgflow.attempts a where (a.run_id, a.step_slug, a.task_index) = (t.run_id, t.step_slug, t.task_index))
)
select rule, run_id, step_slug, task_index from broken order by rule, run_id, step_slug, task_index
