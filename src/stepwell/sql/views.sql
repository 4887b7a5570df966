-- What people read with their own SQL.

-- Live runs and what each is waiting for.
create or replace view pgflow.live_steps as
select r.run_id, r.flow_slug, s.step_slug, s.status, s.remaining_deps, s.remaining_tasks, t.task_index, t.stage,
  t.attempts_count, t.ready_at, t.last_worker_id
from pgflow.runs r
join pgflow.step_states s on s.run_id = r.run_id and s.status in ('created', 'started')
left join pgflow.step_tasks t on t.run_id = s.run_id and t.step_slug = s.step_slug and t.stage <> 'closed'
where r.status = 'started';
