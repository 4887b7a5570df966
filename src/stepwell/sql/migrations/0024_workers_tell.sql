-- What a worker tells of itself, so that others can say why a run is not moving.

alter table pgflow.workers
  add column lane_queues text[],             -- with lane_versions: what it claims of; null: it did not say (foreign, or older code)
  add column lane_versions int[],
  add column concurrency int,                -- tasks it runs at once
  add column clock_ahead float8;             -- seconds that its clock was ahead of ours when it said all this

-- Why a run is not moving (functions/explain.sql).
create type pgflow.reason as (
  reason text, state text, step_slug text, tasks int, since timestamptz, until timestamptz, message text, remedy text,
  facts jsonb);
