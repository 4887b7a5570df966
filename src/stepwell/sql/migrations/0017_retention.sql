-- How long ended runs are kept, and where the sweep that deletes them stands.

alter table pgflow.flows
  add column opt_retention float8,           -- days after the end; 0: for ever; null: as the workers' settings say
  add constraint opt_retention_is_nonnegative check (opt_retention >= 0);

-- One row, which whoever sweeps holds: so one worker sweeps at a time, and the next goes on where it stopped.
create table pgflow.pruning (
  only_row boolean not null default true,
  flow_slug text,                            -- null: between two rounds
  started_at timestamptz,                    -- the last run of it that was looked at
  run_id uuid,
  finished_at timestamptz,                   -- the last round
  constraint pruning_pkey primary key (only_row),
  constraint there_is_one_row check (only_row)
);
insert into pgflow.pruning default values;
