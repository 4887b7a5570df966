-- breaking
-- Machines and jobs beside flows: a run of either owns one task, which is armed again in place after each step.
-- What a run is called, where it comes from, and what it waits for.

alter table pgflow.flows
  add column opt_backoff text not null default 'exponential',
  add column opt_priority smallint not null default 0,
  add column opt_fairness_by text[],         -- where in the input the fairness key is
  add constraint opt_backoff_is_valid check (opt_backoff in ('exponential', 'linear', 'fixed', 'custom'));

alter table pgflow.steps
  drop constraint steps_step_type_check,
  add constraint steps_step_type_check check (step_type in ('single', 'map', 'signal', 'sleep')),
  add column is_initial boolean not null default false,  -- where a machine starts
  add column signal_name text,               -- what a signal step waits for
  add column opt_signal_timeout float8,
  add column opt_backoff text,
  add column opt_priority smallint,
  add column opt_concurrency text,           -- a gate, or the front of one that the input completes
  add column opt_concurrency_by text[],      -- where in the input the rest of it is
  add column opt_rate text,
  add column opt_rate_by text[],
  add column opt_weight float8,
  add constraint opt_backoff_is_valid check (opt_backoff in ('exponential', 'linear', 'fixed', 'custom')),
  add constraint signal_steps_name_a_signal check ((step_type = 'signal') = (signal_name is not null));

alter table pgflow.runs
  drop column awaits,
  drop column children_pending,
  drop column deadline_at,
  add column key_until timestamptz,          -- the key stays taken until then, also when the run has ended
  add column join_id bigint,                 -- the join of its parent that waits for it
  add column on_parent_end text,
  add column origin_run_id uuid,             -- a restart knows what it repeats
  add column origin_step text,
  add column paused_at timestamptz,
  add column fairness_key text,
  add column fairness_weight real,
  add constraint on_parent_end_is_valid check (on_parent_end in ('cancel', 'keep')),
  add constraint fairness_weight_is_sane check (fairness_weight between 0.001 and 1000000);

alter table pgflow.step_tasks
  drop constraint stage_is_valid,
  add constraint stage_is_valid check (
    stage in ('ready', 'delayed', 'blocked', 'parked', 'paused', 'running', 'closed')),
  alter column weight type float8,
  add column awaits text[],                  -- signals that it waits for, or was woken by
  add column await_all boolean not null default false,
  add column waiting boolean not null default false,  -- parked, or delayed until a deadline: something may wake it earlier
  add column seen bigint[],                  -- signals that do not wake it again; of a signal step: the one it got
  add column join_id bigint,                 -- the children that it waits for, or was woken by
  add column blocked_on text,                -- the gate that had no slot for it
  add column promised boolean not null default false,  -- it has its place in the line of its rate limit
  add column fairness_key text not null default '',
  add column fairness_weight real;

-- Children of one Spawn, and what is to come before their parent goes on.
create table pgflow.joins (
  join_id bigint generated always as identity,
  run_id uuid not null,                      -- the parent
  message_id bigint not null,                -- its task
  total int not null,
  pending int not null,
  completed int not null default 0,
  failed int not null default 0,
  quorum int,                                -- enough completed children; null: all have ended
  policy text not null default 'wait',
  open boolean not null default true,        -- the task still waits for it
  constraint joins_pkey primary key (join_id),
  constraint policy_is_valid check (policy in ('wait', 'wake', 'fail')),
  constraint pending_is_right check (pending >= 0 and pending = total - completed - failed)
) with (fillfactor = 70);

-- Runs that ended before their children; a chore cancels what was to end with them.
create table pgflow.orphans (
  parent_run_id uuid not null,
  constraint orphans_pkey primary key (parent_run_id)
);

-- Queues that tasks of a version were sent to beside its own, so that workers know where to look.
create table pgflow.lanes (
  queue text not null,
  version_id int not null,
  constraint lanes_pkey primary key (version_id, queue)
);

drop function if exists pgflow.commit_tasks(uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], int[], int);
drop function if exists pgflow.commit_and_claim(
  uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], int[], int, boolean);
drop function if exists pgflow.write_outcomes(
  uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], int[], int, boolean);
drop function if exists pgflow.start_runs(text, jsonb[], uuid[], text[], int);
drop function if exists pgflow.begin_runs(uuid[], int, timestamptz);
drop function if exists pgflow.run_started_as(uuid, text, text);
drop function if exists pgflow.lock_runs_of(bigint[], boolean);
drop function if exists pgflow.pick_tasks(text[], int[], int);
drop function if exists pgflow.take_tasks(uuid, bigint[], timestamptz);
drop function if exists pgflow.retry_delay(int, int, int, real);
drop function if exists pgflow.promote_tasks(int);
drop function if exists pgflow.versions_of(text[]);
drop function if exists pgflow.reclaim_tasks(interval);
drop function if exists pgflow.get_runs(uuid[]);
drop function if exists pgflow.list_runs(text, text, uuid, int);
drop function if exists pgflow.run_steps(uuid);
drop function if exists pgflow.cancel_run(uuid, text);
drop function if exists pgflow.retry_run(uuid);
drop type if exists pgflow.claimed_task cascade;
drop type if exists pgflow.entry cascade;
drop type if exists pgflow.run_summary cascade;
