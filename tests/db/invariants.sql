-- What must hold whenever no transaction is open. Each row of the answer is a rule and who breaks it.
with broken (rule, run_id, step_slug, task_index) as (
  select 'a live run has an open task', r.run_id, null, null::int
  from pgflow.runs r
  where r.status = 'started' and not exists (
    select from pgflow.step_tasks t where t.run_id = r.run_id and t.stage <> 'closed')

  union all
  select 'remaining_steps counts the steps that are neither completed nor skipped', r.run_id, null, null
  from pgflow.runs r
  where r.kind = 'flow' and r.remaining_steps <> (
    select count(*) from pgflow.step_states s
    where s.run_id = r.run_id and s.status not in ('completed', 'skipped'))

  union all
  select 'a run has the steps of its version', r.run_id, null, null
  from pgflow.runs r
  where r.kind = 'flow' and array(select s.step_slug from pgflow.step_states s where s.run_id = r.run_id order by 1)
    <> array(select d.step_slug from pgflow.steps d where d.version_id = r.version_id order by 1)

  union all
  select 'a completed run has no step that waits, runs or failed', r.run_id, s.step_slug, null
  from pgflow.runs r join pgflow.step_states s on s.run_id = r.run_id
  where r.status = 'completed' and s.status not in ('completed', 'skipped')

  union all
  select 'a run fails with a step that failed, and only then has one', r.run_id, null, null
  from pgflow.runs r
  where r.kind = 'flow' and (r.status = 'failed') <> exists (
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
    or t.stage in ('ready', 'delayed', 'blocked', 'parked', 'paused') and t.status <> 'queued'
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
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where t.status = 'failed' and (r.kind = 'flow' or r.status = 'failed') and t.error_message not like '[TYPE_VIOLATION]%' and not exists (
    select from pgflow.attempts a where (a.run_id, a.step_slug, a.task_index) = (t.run_id, t.step_slug, t.task_index))

  union all
  select 'a machine or a job has one task', r.run_id, null, null
  from pgflow.runs r
  where r.kind <> 'flow' and 1 <> (select count(*) from pgflow.step_tasks t where t.run_id = r.run_id)

  union all
  select 'a key is taken while its run lives, and after the end only where it was to be kept', r.run_id, null, null
  from pgflow.runs r
  where r.key_guard <> r.key
    or r.status = 'started' and r.key_guard is distinct from r.key
    or r.status <> 'started' and r.key_guard is not null and r.key_until is null

  union all
  select 'a running task holds a slot of its gate', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.stage = 'running' and t.concurrency_key is not null and not exists (
    select from pgflow.slots s where s.claim_token = t.claim_token and s.gate = t.concurrency_key)

  union all
  select 'a claim holds a slot of its own gate or of a cap, and of no other', t.run_id, t.step_slug, t.task_index
  from pgflow.slots s
  join pgflow.step_tasks t on t.message_id = s.message_id and t.claim_token = s.claim_token
  where s.gate is distinct from t.concurrency_key and s.gate <> 'queue/' || t.queue and s.gate <> 'flow/' || t.flow_slug

  union all
  select 'a slot without a running claim is of a body whose worker is known, and will say that it has ended',
    (select t.run_id from pgflow.step_tasks t where t.message_id = s.message_id), null, null
  from pgflow.slots s
  where not exists (
      select from pgflow.step_tasks t where t.message_id = s.message_id and t.claim_token = s.claim_token)
    and not exists (select from pgflow.workers w where w.worker_id = s.worker_id and w.lease is not null)

  union all
  select 'a blocked task waits for its own gate', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.stage = 'blocked' and t.blocked_on is distinct from t.concurrency_key

  union all
  select 'no task is blocked for nothing: its gate is taken, or one that is ready will take it, or it is owed', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.stage = 'blocked'
    and not exists (select from pgflow.slots s where s.gate = t.blocked_on)
    and not exists (select from pgflow.step_tasks o where o.stage = 'ready' and o.concurrency_key = t.blocked_on)
    and not exists (select from pgflow.owed_wakes w where w.gate = t.blocked_on)

  union all
  select 'a parked task waits for something', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.stage = 'parked' and (not t.waiting or t.awaits is null and t.join_id is null)

  union all
  select 'only a parked or delayed task waits, or one that is about to go on without', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t
  where t.waiting and t.stage not in ('parked', 'delayed', 'ready', 'blocked', 'paused')

  union all
  select 'a machine does not wait for signals that are there', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where r.kind = 'machine' and t.waiting and t.stage in ('parked', 'delayed') and t.awaits is not null
    and pgflow.has_signals(t.run_id, t.awaits, t.await_all, t.seen)

  union all
  select 'a step of a flow does not wait for a signal that is there', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where r.kind = 'flow' and t.waiting and t.stage in ('parked', 'delayed') and exists (
    select from pgflow.signals g where g.run_id = t.run_id and g.name = t.awaits[1] and g.consumed_at is null)

  union all
  select 'a signal goes to one step of a flow', t.run_id, min(t.step_slug), null
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where r.kind = 'flow' and t.awaits is not null and t.seen is not null
  group by t.run_id, t.seen having count(*) > 1

  union all
  select 'a signal that a step of a flow has got is consumed', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  join pgflow.signals g on g.run_id = t.run_id and g.signal_id = any (t.seen)
  where r.kind = 'flow' and t.awaits is not null and g.consumed_at is null

  union all
  select 'a task that waits for children has a join that is open and not over', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.joins j on j.join_id = t.join_id
  where t.waiting and t.stage in ('parked', 'delayed')
    and (not j.open or j.pending = 0 or j.completed >= j.quorum or j.completed + j.pending < j.quorum
      or j.policy in ('wake', 'fail') and j.failed > 0)

  union all
  select 'a join counts its children: those that live, and at least those that are still kept', j.run_id, null, null
  from pgflow.joins j
  cross join lateral (
    select count(*) filter (where r.status = 'started') as live, count(*) filter (where r.status = 'completed') as completed,
      count(*) filter (where r.status in ('failed', 'cancelled')) as failed
    from pgflow.runs r where r.parent_run_id = j.run_id and r.join_id = j.join_id) c
  where j.pending <> c.live or j.completed < c.completed or j.failed < c.failed

  union all
  select 'only a run that ended leaves orphans', r.run_id, null, null
  from pgflow.orphans o join pgflow.runs r on r.run_id = o.parent_run_id
  where r.status = 'started'

  union all
  select 'log lines and progress are of a run that is there', n.run_id, n.step_slug, n.task_index
  from (select run_id, step_slug, task_index from pgflow.logs union select run_id, step_slug, task_index from pgflow.progress) n
  where not exists (select from pgflow.runs r where r.run_id = n.run_id)

  union all
  select 'the lines of a claim are numbered from 1', l.run_id, min(l.step_slug), null
  from pgflow.logs l group by l.run_id, l.claim_token having count(*) <> max(l.n)

  union all
  select 'a paused task is of a run that is paused', t.run_id, t.step_slug, t.task_index
  from pgflow.step_tasks t join pgflow.runs r on r.run_id = t.run_id
  where t.stage = 'paused' and r.paused_at is null

  union all
  select 'a run is found by its tags, and by no other', coalesce(t.run_id, r.run_id), coalesce(t.tag, r.tag), null
  from pgflow.run_tags t
  full join (select r.run_id, r.started_at, unnest(r.tags) as tag from pgflow.runs r) r
    on r.tag = t.tag and r.started_at = t.started_at and r.run_id = t.run_id
  where t.tag is null or r.tag is null
)
select rule, run_id, step_slug, task_index from broken order by rule, run_id, step_slug, task_index
