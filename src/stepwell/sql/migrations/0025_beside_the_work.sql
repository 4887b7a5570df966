-- concurrently
-- What 0020 and 0021 need of tables that may be large. Until it is there, reads of runs by what they are take longer; claims,
-- commits and starts use none of it.

-- open_runs: what waits for children or signals, as the other indexes have the other stages.
create index concurrently idx_step_tasks_parked on pgflow.step_tasks (run_id) where stage = 'parked';

-- find_run: who had this key last; search_runs: the keys that begin with a text.
create index concurrently idx_runs_keys on pgflow.runs (key text_pattern_ops, started_at) where key is not null;
drop index concurrently if exists pgflow.idx_runs_key_history;

-- search_runs: the failed and the cancelled runs of a flow. On times that nobody else sets, so that the end of a run that
-- completes stays a HOT update.
create index concurrently idx_runs_failed on pgflow.runs (flow_slug, started_at) where failed_at is not null;
create index concurrently idx_runs_cancelled on pgflow.runs (flow_slug, started_at) where cancelled_at is not null;

alter table pgflow.runs validate constraint trace_is_small;
