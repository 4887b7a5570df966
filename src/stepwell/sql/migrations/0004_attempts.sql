-- Every attempt that did not succeed: what it said, and where.

create table pgflow.attempts (
  attempt_id bigint generated always as identity,
  run_id uuid not null,
  step_slug text not null,
  task_index int not null,
  attempt int not null,
  error_type text not null,                  -- the exception's class, or TimedOut, WorkerLost
  error_message text not null,
  traceback text,
  worker_id uuid,
  started_at timestamptz,
  failed_at timestamptz not null,
  constraint attempts_pkey primary key (attempt_id)
);
create index idx_attempts_run on pgflow.attempts (run_id, step_slug, task_index);
