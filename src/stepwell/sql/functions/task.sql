-- TASK: pgflow's calls for one task. They are batches of one.

create or replace function pgflow.complete_task(run_id uuid, step_slug text, task_index int, output jsonb)
returns setof pgflow.step_tasks
language plpgsql set search_path = '' as $$
#variable_conflict use_column
begin
  perform pgflow.write_one(complete_task.run_id, complete_task.step_slug, complete_task.task_index, 'completed', complete_task.output, null);
  return query select * from pgflow.step_tasks t where t.run_id = complete_task.run_id
    and t.step_slug = complete_task.step_slug and t.task_index = complete_task.task_index;
end
$$;

create or replace function pgflow.fail_task(run_id uuid, step_slug text, task_index int, error_message text)
returns setof pgflow.step_tasks
language plpgsql set search_path = '' as $$
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
  end if;
end
$$;
