-- TASK: pgflow's calls for one task. They are batches of one.

create or replace function pgflow.complete_task(run_id uuid, step_slug text, task_index int, output jsonb)
returns setof pgflow.step_tasks
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  perform pgflow.write_one(complete_task.run_id, complete_task.step_slug, complete_task.task_index, 'completed', complete_task.output, null);
  return query select * from pgflow.step_tasks t where t.run_id = complete_task.run_id
    and t.step_slug = complete_task.step_slug and t.task_index = complete_task.task_index;
end
$$;

create or replace function pgflow.fail_task(run_id uuid, step_slug text, task_index int, error_message text)
returns setof pgflow.step_tasks
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  perform pgflow.write_one(fail_task.run_id, fail_task.step_slug, fail_task.task_index, 'failed', null, fail_task.error_message);
  return query select * from pgflow.step_tasks t where t.run_id = fail_task.run_id
    and t.step_slug = fail_task.step_slug and t.task_index = fail_task.task_index;
end
$$;

-- The caller names no claim, so the outcome is taken as that of the task's present one.
create or replace function pgflow.write_one(
  run_id uuid, step_slug text, task_index int, outcome text, output jsonb, error_message text
) returns void
language plpgsql as $$
#variable_conflict use_column
declare
  task pgflow.step_tasks;
begin
  select * into task from pgflow.step_tasks t where t.run_id = write_one.run_id
    and t.step_slug = write_one.step_slug and t.task_index = write_one.task_index;
  if task.stage = 'running' then
    perform pgflow.commit_tasks(task.last_worker_id, array[task.message_id], array[task.claim_token], array[outcome],
      array[write_one.output], array['Error'], array[write_one.error_message], array[null::text]);
  elsif task.status = 'started' and outcome = 'failed' then
    perform pgflow.fail_late(task, write_one.error_message);
  end if;
end
$$;

-- A failure that comes after the run has failed moves nothing, but pgflow's call keeps what it says in the task's row. (A batch
-- drops it: its claim is gone.) Locks: the task alone, which a retry of the run would open again.
create or replace function pgflow.fail_late(task pgflow.step_tasks, message text) returns void
language sql as $$
  with failed as (
    update pgflow.step_tasks t
    set status = 'failed', failed_at = greatest(pgflow.now(), t.started_at), error_message = message
    where t.message_id = task.message_id and t.status = 'started' and t.stage || '' = 'closed'
      and exists (select from pgflow.runs r where r.run_id = task.run_id and r.status = 'failed')
    returning t.*
  )
  insert into pgflow.attempts (
    run_id, step_slug, task_index, attempt, error_type, error_message, worker_id, started_at, failed_at)
  select f.run_id, f.step_slug, f.task_index, f.attempts_count, 'Error', coalesce(f.error_message, ''), f.last_worker_id,
    f.started_at, f.failed_at
  from failed f;
$$;
