-- Rows that functions hand to each other. Created once; a changed type is a new type.
do $$
begin
  if to_regtype('pgflow.step_ref') is null then
    -- one step of one run; the version travels along so that no statement has to look it up
    create type pgflow.step_ref as (run_id uuid, version_id int, step_slug text);
  end if;
  if to_regtype('pgflow.step_task_record') is null then
    create type pgflow.step_task_record as (
      flow_slug text, run_id uuid, step_slug text, input jsonb, msg_id bigint, task_index int, flow_input jsonb);
  end if;
  if to_regtype('pgflow.run_summary') is null then
    create type pgflow.run_summary as (run_id uuid, flow_slug text, kind text, version int, status text, key text,
      started_at timestamptz, ended_at timestamptz, remaining_steps int, failed_step text, error_message text,
      paused_at timestamptz);
  end if;
  if to_regtype('pgflow.run_listed') is null then
    create type pgflow.run_listed as (run_id uuid, flow_slug text, kind text, version int, status text, key text,
      started_at timestamptz, ended_at timestamptz, remaining_steps int, failed_step text, error_message text,
      paused_at timestamptz, parent_run_id uuid, tags text[], metadata jsonb);
    create type pgflow.run_place as (at timestamptz, id uuid);   -- where a run stands in the order of a list
  end if;
  if to_regtype('pgflow.claimed_task') is null then
    create type pgflow.claimed_task as (
      message_id bigint, claim_token bigint, run_id uuid, flow_slug text, version_id int, step_slug text, task_index int,
      attempt int, max_attempts int, timeout int, started_at timestamptz, input text, flow_input text,
      kind text, key text, crashes int, signals text, children text, version int);
  end if;
  if to_regtype('pgflow.turn_row') is null then
    create type pgflow.turn_row as (          -- a row of commit_and_claim
      verdict text, queue text, message_id bigint, claim_token bigint, run_id uuid, flow_slug text, version_id int,
      step_slug text, task_index int, attempt int, max_attempts int, timeout int, started_at timestamptz,
      input text, flow_input text, kind text, key text, crashes int, signals text, children text, version int);
  end if;
  if to_regtype('pgflow.told') is null then
    create type pgflow.told as (run_id uuid, event text, payload jsonb);   -- an event, as it is told (events.sql)
  end if;
  if to_regtype('pgflow.entry') is null then
    -- one outcome of a batch, judged; `round` orders what cannot be written at once (judge.sql)
    create type pgflow.entry as (
      message_id bigint, claim_token bigint, run_id uuid, version_id int, step_slug text, task_index int,
      attempt int, started_at timestamptz, can_fail_early boolean, verdict text, output jsonb,
      error_type text, error_message text, traceback text, delay float8, round int, kind text);
  end if;
end
$$;
