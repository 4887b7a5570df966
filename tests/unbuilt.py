"""A database as the transaction of a migration leaves one that was in use: what it does beside the
work is still to be done."""

from __future__ import annotations

from typing import LiteralString

LEFT: LiteralString = "0025_beside_the_work.sql"
UNBUILD: LiteralString = """
    drop index pgflow.idx_step_tasks_parked, pgflow.idx_runs_keys, pgflow.idx_runs_failed,
      pgflow.idx_runs_cancelled;
    create index idx_runs_key_history on pgflow.runs (key, started_at) where key is not null;
    update pg_constraint set convalidated = false where conname = 'trace_is_small';
    delete from pgflow.stepwell_migrations where name = '0025_beside_the_work.sql';
"""
STEPS = [
    "index idx_step_tasks_parked",
    "index idx_runs_keys",
    "removal of index idx_runs_key_history",
    "index idx_runs_failed",
    "index idx_runs_cancelled",
    "check of constraint trace_is_small",
]
