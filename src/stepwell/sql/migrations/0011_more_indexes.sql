-- Each index with the one scan that it serves, again.

-- claim_tasks: the head of a lane, or of one fairness key in it.
drop index pgflow.idx_step_tasks_ready;
create index idx_step_tasks_ready on pgflow.step_tasks (queue, version_id, fairness_key, priority, ready_at, message_id)
  where stage = 'ready';

-- wake_gates: who waits for a slot, lane by lane.
create index idx_step_tasks_blocked on pgflow.step_tasks (blocked_on, queue, version_id, priority, ready_at, message_id)
  where stage = 'blocked';

-- send_signal: what of a run waits for one.
create index idx_step_tasks_awaits on pgflow.step_tasks (run_id) where awaits is not null;

-- resume_run: what was put aside.
create index idx_step_tasks_paused on pgflow.step_tasks (run_id) where stage = 'paused';

-- Signals of a run that nothing consumed yet, oldest first.
create index idx_signals_waiting on pgflow.signals (run_id, signal_id) where consumed_at is null;

-- children_of, and the children of a join in order.
create index idx_runs_parent on pgflow.runs (parent_run_id, run_id) where parent_run_id is not null;

-- find_run: who had this key last.
create index idx_runs_key_history on pgflow.runs (key, started_at) where key is not null;

-- delete_run: the joins of a run.
create index idx_joins_run on pgflow.joins (run_id);

-- stand_in_line: the last one who was promised a turn.
create index idx_step_tasks_promised on pgflow.step_tasks (rate_limit, ready_at) where stage = 'delayed' and promised;

-- spawn_children, joined_by: the children of one join.
create index idx_runs_join on pgflow.runs (join_id, run_id) where join_id is not null;
