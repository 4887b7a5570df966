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

-- search_runs: the failed and the cancelled runs of a flow. On times that nobody else sets, so that the end of a run that
-- completes stays a HOT update.
create index idx_runs_failed on pgflow.runs (flow_slug, started_at) where failed_at is not null;
create index idx_runs_cancelled on pgflow.runs (flow_slug, started_at) where cancelled_at is not null;

-- open_runs: what waits for children or signals, as the other indexes have the other stages.
create index idx_step_tasks_parked on pgflow.step_tasks (run_id) where stage = 'parked';

-- find_run: who had this key last; search_runs: the keys that begin with a text.
drop index pgflow.idx_runs_key_history;
create index idx_runs_key_history on pgflow.runs (key text_pattern_ops, started_at) where key is not null;

drop function if exists pgflow.get_runs(uuid[]);   -- it tells more now
