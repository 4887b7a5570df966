"""What the tables refuse, by the names that pgflow's constraints have."""

from __future__ import annotations

from typing import LiteralString

import pytest
from psycopg import errors

from .calls import Caller

CHECKS: list[tuple[str, LiteralString, str]] = [
    # table, change of every row, constraint
    ("flows", "update pgflow.flows set flow_slug = 'a b'", "slug_is_valid"),
    (
        "flows",
        "update pgflow.flows set opt_max_attempts = -1",
        "opt_max_attempts_is_nonnegative",
    ),
    ("flows", "update pgflow.flows set opt_base_delay = -1", "opt_base_delay_is_nonnegative"),
    ("flows", "update pgflow.flows set opt_timeout = 0", "opt_timeout_is_positive"),
    ("steps", "update pgflow.steps set step_slug = 'run'", "steps_step_slug_check"),
    ("steps", "update pgflow.steps set step_type = 'x'", "steps_step_type_check"),
    ("steps", "update pgflow.steps set deps_count = -1", "steps_deps_count_check"),
    (
        "steps",
        "update pgflow.steps set opt_max_attempts = -1",
        "opt_max_attempts_is_nonnegative",
    ),
    ("steps", "update pgflow.steps set opt_base_delay = -1", "opt_base_delay_is_nonnegative"),
    ("steps", "update pgflow.steps set opt_timeout = 0", "opt_timeout_is_positive"),
    ("steps", "update pgflow.steps set opt_start_delay = -1", "opt_start_delay_is_nonnegative"),
    (
        "steps",
        "update pgflow.steps set required_input_pattern = 'null'",
        "required_input_pattern_is_object",
    ),
    (
        "steps",
        "update pgflow.steps set forbidden_input_pattern = '\"x\"'",
        "forbidden_input_pattern_is_object",
    ),
    ("steps", "update pgflow.steps set when_unmet = 'stop'", "when_unmet_is_valid"),
    ("steps", "update pgflow.steps set when_exhausted = 'stop'", "when_exhausted_is_valid"),
    ("runs", "update pgflow.runs set status = 'queued'", "status_is_valid"),
    ("runs", "update pgflow.runs set remaining_steps = -1", "runs_remaining_steps_check"),
    (
        "runs",
        "update pgflow.runs set completed_at = now(), failed_at = now()",
        "completed_at_or_failed_at",
    ),
    (
        "runs",
        "update pgflow.runs set completed_at = '2000-01-01'",
        "completed_at_is_after_started_at",
    ),
    ("runs", "update pgflow.runs set failed_at = '2000-01-01'", "failed_at_is_after_started_at"),
    ("step_states", "update pgflow.step_states set status = 'queued'", "status_is_valid"),
    (
        "step_states",
        "update pgflow.step_states set status = 'completed', remaining_tasks = 1",
        "status_and_remaining_tasks_match",
    ),
    (
        "step_states",
        "update pgflow.step_states set status = 'created', remaining_tasks = 1",
        "remaining_tasks_state_consistency",
    ),
    (
        "step_states",
        "update pgflow.step_states set initial_tasks = null",
        "initial_tasks_known_when_started",
    ),
    (
        "step_states",
        "update pgflow.step_states set output = '1'",
        "output_only_for_completed_or_null",
    ),
    (
        "step_states",
        "update pgflow.step_states set skip_reason = 'x'",
        "skip_reason_matches_status",
    ),
    (
        "step_states",
        "update pgflow.step_states set failed_at = now(), skipped_at = now()",
        "completed_at_or_failed_at_or_skipped_at",
    ),
    (
        "step_states",
        "update pgflow.step_states set started_at = '2000-01-01'",
        "started_at_is_after_created_at",
    ),
    (
        "step_states",
        "update pgflow.step_states set completed_at = '2000-01-01'",
        "completed_at_is_after_started_at",
    ),
    (
        "step_states",
        "update pgflow.step_states set failed_at = '2000-01-01'",
        "failed_at_is_after_started_at",
    ),
    (
        "step_states",
        "update pgflow.step_states set skipped_at = '2000-01-01'",
        "skipped_at_is_after_created_at",
    ),
    (
        "step_states",
        "update pgflow.step_states set initial_tasks = -1",
        "step_states_initial_tasks_check",
    ),
    (
        "step_states",
        "update pgflow.step_states set remaining_deps = -1",
        "step_states_remaining_deps_check",
    ),
    ("step_tasks", "update pgflow.step_tasks set status = 'created'", "valid_status"),
    (
        "step_tasks",
        "update pgflow.step_tasks set output = '1'",
        "output_valid_only_for_completed",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set attempts_count = -1",
        "attempts_count_nonnegative",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set completed_at = now(), failed_at = now()",
        "completed_at_or_failed_at",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set started_at = null, completed_at = '2000-01-01'",
        "completed_at_is_after_queued_at",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set started_at = null, failed_at = '2000-01-01'",
        "failed_at_is_after_queued_at",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set started_at = '2000-01-01'",
        "started_at_is_after_queued_at",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set started_at = now() + interval '2 days',"
        " completed_at = now() + interval '1 day'",
        "completed_at_is_after_started_at",
    ),
    (
        "step_tasks",
        "update pgflow.step_tasks set started_at = now() + interval '2 days',"
        " failed_at = now() + interval '1 day'",
        "failed_at_is_after_started_at",
    ),
    (
        "worker_functions",
        "insert into pgflow.worker_functions (function_name, debounce) values ('f', '1 ms')",
        "worker_functions_debounce_check",
    ),
]


@pytest.mark.parametrize(
    ("table", "change", "constraint"), CHECKS, ids=[f"{t}.{c}" for t, _, c in CHECKS]
)
def test_a_row_that_cannot_be_is_refused_by_name(
    caller: Caller, table: str, change: LiteralString, constraint: str
) -> None:
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    caller.take(run, "a")
    with pytest.raises(errors.CheckViolation) as raised:
        caller.do(change)
    said = f'relation "{table}" violates check constraint "{constraint}"'
    assert said in (raised.value.diag.message_primary or "")


KEYS: list[tuple[LiteralString, type[Exception], str]] = [
    ("insert into pgflow.flows (flow_slug) values ('flow')", errors.UniqueViolation, "flows_pkey"),
    (
        "insert into pgflow.steps (version_id, flow_slug, step_slug, step_index)"
        " select version_id, flow_slug, 'a', 9 from pgflow.flows",
        errors.UniqueViolation,
        "steps_pkey",
    ),
    (
        "insert into pgflow.steps (version_id, flow_slug, step_slug, step_index)"
        " select version_id, flow_slug, 'c', 0 from pgflow.flows",
        errors.UniqueViolation,
        "steps_flow_slug_step_index_key",
    ),
    (
        "insert into pgflow.deps (version_id, flow_slug, dep_slug, step_slug)"
        " select version_id, flow_slug, 'a', 'b' from pgflow.flows",
        errors.UniqueViolation,
        "deps_pkey",
    ),
    (
        "insert into pgflow.deps (version_id, flow_slug, dep_slug, step_slug)"
        " select version_id, 'nope', 'b', 'a' from pgflow.flows",
        errors.ForeignKeyViolation,
        "deps_flow_slug_fkey",
    ),
    (
        "insert into pgflow.deps (version_id, flow_slug, dep_slug, step_slug)"
        " select version_id, flow_slug, 'x', 'a' from pgflow.flows",
        errors.ForeignKeyViolation,
        "deps_flow_slug_dep_slug_fkey",
    ),
    (
        "insert into pgflow.deps (version_id, flow_slug, dep_slug, step_slug)"
        " select version_id, flow_slug, 'a', 'x' from pgflow.flows",
        errors.ForeignKeyViolation,
        "deps_flow_slug_step_slug_fkey",
    ),
    (
        "insert into pgflow.runs (run_id, flow_slug, version_id, input)"
        " select run_id, flow_slug, version_id, input from pgflow.runs",
        errors.UniqueViolation,
        "runs_pkey",
    ),
    (
        "insert into pgflow.step_states (run_id, flow_slug, step_slug)"
        " select run_id, flow_slug, step_slug from pgflow.step_states",
        errors.UniqueViolation,
        "step_states_pkey",
    ),
    (
        "insert into pgflow.step_tasks (run_id, flow_slug, step_slug, version_id, queue)"
        " select run_id, flow_slug, step_slug, version_id, queue from pgflow.step_tasks",
        errors.UniqueViolation,
        "step_tasks_pkey",
    ),
    (
        "insert into pgflow.workers (worker_id, queue_name, function_name)"
        " select worker_id, queue_name, function_name from pgflow.workers",
        errors.UniqueViolation,
        "workers_pkey",
    ),
]


@pytest.mark.parametrize(("change", "error", "key"), KEYS, ids=[key for _, _, key in KEYS])
def test_a_key_that_is_taken_or_leads_nowhere_is_refused_by_name(
    caller: Caller, change: LiteralString, error: type[Exception], key: str
) -> None:
    caller.flow("flow", ("a", ""), ("b", "a"))
    run = caller.start("flow")
    caller.take(run, "a")
    with pytest.raises(error, match=f'constraint "{key}"'):
        caller.do(change)
