-- The inbox of each run. A row stays as long as its run, so that a dedup key is never forgotten.

create table pgflow.signals (
  signal_id bigint generated always as identity,
  run_id uuid not null,
  name text not null,
  payload jsonb not null default 'null',
  dedup_key text,
  sent_at timestamptz not null default now(),
  consumed_at timestamptz,
  constraint signals_pkey primary key (signal_id),
  constraint signals_dedup_key unique (run_id, dedup_key),
  constraint name_is_not_empty check (name <> '')
) with (fillfactor = 80);
