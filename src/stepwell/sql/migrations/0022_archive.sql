-- Runs that are handed to an archive before they go.

alter table pgflow.flows
  add column opt_archive boolean not null default false;   -- its runs go once an archive has them, and not before

-- One row per definition that is archived: where the round over its old runs stands, and who has some of them in hand.
create table pgflow.archiving (
  flow_slug text not null,
  worker_id uuid,                            -- null: nobody
  held_until timestamptz,                    -- from then on it is anybody's
  started_at timestamptz,                    -- the last run of it that was looked at; null: between two rounds
  run_id uuid,
  finished_at timestamptz,                   -- the last round
  constraint archiving_pkey primary key (flow_slug)
);
