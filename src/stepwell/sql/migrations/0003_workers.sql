-- Who works. A lease belongs to one incarnation of a worker: a row here is never revived.

create table pgflow.workers (
  worker_id uuid not null,
  queue_name text not null,
  function_name text not null,
  started_at timestamptz not null default now(),
  deprecated_at timestamptz,                 -- set it to drain the worker
  stopped_at timestamptz,
  last_heartbeat_at timestamptz not null default now(),
  last_heartbeat timestamptz generated always as (last_heartbeat_at) stored,
  lease interval,                            -- null: a foreign worker, bound by the step timeout alone
  host text,
  pid int,
  constraint workers_pkey primary key (worker_id)
) with (fillfactor = 50);
create index idx_workers_queue_name on pgflow.workers (queue_name);
create index idx_workers_live on pgflow.workers (worker_id) where stopped_at is null;

create table pgflow.worker_functions (
  function_name text not null,
  enabled boolean not null default true,
  debounce interval not null default '6 seconds',
  last_invoked_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint worker_functions_pkey primary key (function_name),
  constraint worker_functions_debounce_check check (debounce >= '1 second')
);
