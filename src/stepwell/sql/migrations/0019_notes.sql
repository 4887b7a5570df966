-- What bodies say while they run: how far they are, and their log lines. Both go with their run.

create table pgflow.progress (
  run_id uuid not null,
  step_slug text not null,
  task_index int not null,
  attempt int not null,
  claim_token bigint not null,               -- whose word it is: of an attempt that is over it tells how far that one came
  share real,                                -- 0 to 1; null: nobody knows
  message text,
  at timestamptz not null,
  constraint progress_pkey primary key (run_id, step_slug, task_index),
  constraint share_is_a_share check (share between 0 and 1)
) with (fillfactor = 70);                    -- no index but the key: every update is HOT

create table pgflow.logs (
  log_id bigint generated always as identity,
  run_id uuid not null,
  step_slug text not null,
  task_index int not null,
  attempt int not null,
  claim_token bigint not null,
  n int not null,                            -- the n-th line of its claim: what is written twice is there once
  at timestamptz not null,
  level text not null,
  message text not null,
  xid xid8 not null default pg_current_xact_id(),   -- what a reader has seen is what its snapshot shows
  constraint logs_pkey primary key (run_id, claim_token, n),
  constraint level_is_valid check (level in ('debug', 'info', 'warning', 'error'))
);

-- run_logs: the lines of a run in their order, and those that came since a snapshot.
create index idx_logs_run on pgflow.logs (run_id, xid, log_id);
