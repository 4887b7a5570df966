-- Ended runs of which no archive can have a document: they stay, and are tried again now and then.

create table pgflow.archive_refusals (
  run_id uuid not null,
  flow_slug text not null,
  message text not null,
  tries int not null default 1,
  refused_at timestamptz not null,           -- the last of them
  constraint archive_refusals_pkey primary key (run_id)
);

drop function if exists pgflow.runs_to_archive(text, timestamptz, int, timestamptz, uuid);   -- it has more to say now, as has
drop function if exists pgflow.take_archive(text[], uuid, float8, interval, interval, int);
