-- What callers say about a run: tags to find it by, metadata to read beside it. And what search_runs walks.

alter table pgflow.runs
  add column tags text[],                    -- null: none
  add column metadata jsonb;                 -- an object; null: none

-- The tags of all runs, in the order in which a search wants them. Written by the trigger below alone, so that whatever makes,
-- changes or deletes a run keeps it right; runs without tags cost nothing.
create table pgflow.run_tags (
  tag text not null,
  started_at timestamptz not null,
  run_id uuid not null,
  constraint run_tags_pkey primary key (tag, started_at, run_id)
);

-- its body is in functions/labels.sql
create function pgflow.keep_tags() returns trigger language plpgsql as 'begin return null; end';

create trigger tags_begin after insert on pgflow.runs
  for each row when (new.tags is not null) execute function pgflow.keep_tags();
create trigger tags_change after update of tags, started_at on pgflow.runs
  for each row when ((old.tags, old.started_at) is distinct from (new.tags, new.started_at)) execute function pgflow.keep_tags();
create trigger tags_end after delete on pgflow.runs
  for each row when (old.tags is not null) execute function pgflow.keep_tags();

drop function if exists pgflow.get_runs(uuid[]);   -- it tells more now
