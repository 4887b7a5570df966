-- Each index with the one scan that it serves.

-- claim_tasks: the head of a lane. A lane is a queue and a version, so that a worker never walks past
-- work it has no code for.
create index idx_step_tasks_ready on pgflow.step_tasks (queue, version_id, priority, ready_at, message_id)
  where stage = 'ready';

-- promote_tasks: what is due next.
create index idx_step_tasks_delayed on pgflow.step_tasks (ready_at) where stage = 'delayed';

-- heartbeat and reclaim_tasks: what a worker holds.
create index idx_step_tasks_running on pgflow.step_tasks (last_worker_id) where stage = 'running';

-- commit_tasks: a task by its id.
create unique index idx_step_tasks_message_id on pgflow.step_tasks (message_id);

-- start_runs: the run that has a key.
create unique index idx_runs_key on pgflow.runs (key_guard) where key_guard is not null;

-- list_runs: the newest runs of a flow. (Not on run_id: to an empty table's statistics such an index would look as good
-- for finding one run as the primary key is.)
create index idx_runs_flow_slug on pgflow.runs (flow_slug, started_at);
