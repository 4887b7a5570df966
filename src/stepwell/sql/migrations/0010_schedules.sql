-- What is started again and again, and when next. Which times fit is computed in Python alone.

create table pgflow.schedules (
  name text not null,
  flow_slug text not null,                   -- a flow, machine or job
  kind text not null default 'flow',
  version int,                               -- of a machine; null: the current one
  input jsonb not null default 'null',
  spec jsonb not null,                       -- {"cron", "tz"} or {"every", "start"}
  overlap text not null default 'skip',      -- what a slot does while a run of an earlier one is live
  catch_up text not null default 'one',      -- which missed slots are made up for
  options jsonb not null default '{}',       -- of every run, as start_runs takes them
  created_at timestamptz not null default now(),
  paused_at timestamptz,
  resumed_at timestamptz,
  next_at timestamptz not null,              -- the first slot that nothing was decided about
  last_slot timestamptz,                     -- the latest slot that started a run
  last_run_id uuid,
  live uuid[] not null default '{}',         -- runs of it that had not ended when it last fired
  waiting timestamptz[] not null default '{}',  -- slots that wait for the end of those
  error_message text,                        -- why the last firing started nothing
  deployed jsonb,                            -- what the code said last: what was tuned by hand stays until the code changes
  constraint schedules_pkey primary key (name),
  constraint name_is_valid check (pgflow.is_valid_slug(name)),
  constraint kind_is_valid check (kind in ('flow', 'machine', 'job')),
  constraint overlap_is_valid check (overlap in ('skip', 'queue', 'allow')),
  constraint catch_up_is_valid check (catch_up in ('none', 'one', 'all'))
) with (fillfactor = 50);

-- due_schedules: what is due, and when the next one is.
create index idx_schedules_due on pgflow.schedules (next_at) where paused_at is null;

-- due_schedules: what waits for the end of a run.
create index idx_schedules_waiting on pgflow.schedules (name) where paused_at is null and waiting <> '{}';

-- A slot and the run that it has; `created` when that run is new.
create type pgflow.fired as (slot timestamptz, run_id uuid, created boolean);
