-- Who listens at the moment, and what happened for them. Rows stay for minutes.

create table pgflow.listeners (
  listener_id uuid not null,
  run_id uuid,                               -- null: all runs
  until timestamptz not null,                -- who has not come back by then is gone
  constraint listeners_pkey primary key (listener_id)
);

create table pgflow.events (
  event_id bigint generated always as identity,
  run_id uuid not null,
  event text not null,
  payload jsonb not null,
  at timestamptz not null,
  xid xid8 not null default pg_current_xact_id(),   -- what a reader of all runs has seen is what its snapshot shows
  constraint events_pkey primary key (run_id, event_id)     -- events_of: what a run has after an event
);

-- events_between: what came since a snapshot; prune_events: the oldest.
create index idx_events_xid on pgflow.events (xid);
