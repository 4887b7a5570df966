"""requeue_stalled_tasks."""

from __future__ import annotations

from uuid import UUID

import pytest

from .calls import Caller


def sweep(caller: Caller, seconds: float = 0) -> int:
    """Sweep so many seconds from now."""
    caller.do(
        "select set_config('pgflow.now',"
        " (pgflow.now() + make_interval(secs => %s::float8))::text, false)",
        seconds,
    )
    return caller.value("select pgflow.requeue_stalled_tasks()")


def started(caller: Caller, *names: str, **options: int) -> UUID:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", *((name, "") for name in names), **options)
    run = caller.start("flow", {})
    for name in names:
        caller.take(run, name)
    return run


def test_a_task_is_stalled_past_its_timeout_and_thirty_seconds(caller: Caller) -> None:
    run = started(caller, "a", timeout=60)
    assert sweep(caller, 90) == 0
    assert sweep(caller, 1) == 1
    task = caller.tasks(run)["a", 0]
    assert (task["status"], task["requeued_count"], task["attempts_count"]) == ("queued", 1, 0)
    assert (task["started_at"], task["last_worker_id"]) == (None, None)
    now = caller.value("select pgflow.now()")
    assert task["last_requeued_at"] == now
    assert caller.value("select vt <= pgflow.now() from pgmq.q_flow") is True
    assert sweep(caller, 1) == 0


def test_the_timeout_of_the_step_counts(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", ("long", "", {"timeout": 600}), ("short", ""), timeout=60)
    run = caller.start("flow")
    for step in ("long", "short"):
        caller.take(run, step)
    assert sweep(caller, 100) == 1
    assert caller.tasks(run)["long", 0]["status"] == "started"
    assert sweep(caller, 531) == 1


def test_a_stalled_task_can_be_had_again_and_completes(caller: Caller) -> None:
    run = started(caller, "a")
    sweep(caller, 100)
    [record] = caller.take(run, "a")
    assert record["flow_input"] == {}
    assert caller.tasks(run)["a", 0]["attempts_count"] == 1
    caller.complete(run, "a", 1)
    assert caller.run(run)["status"] == "completed"


@pytest.mark.parametrize(
    ("policy", "status"), [("fail", "failed"), ("skip", "completed"), ("skip-cascade", "completed")]
)
def test_the_fourth_time_it_fails_by_its_policy_and_the_run_ends(
    caller: Caller, policy: str, status: str
) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", ("a", "", {"exhausted": policy}), max_attempts=1)
    run = caller.start("flow")
    for _ in range(3):
        caller.take(run, "a")
        assert sweep(caller, 91) == 1
    caller.take(run, "a")
    assert sweep(caller, 91) == 0
    task = caller.tasks(run)["a", 0]
    assert (task["status"], task["requeued_count"]) == ("failed", 3)
    assert task["permanently_stalled_at"] is not None
    assert caller.run(run)["status"] == status
    assert caller.value("select count(*) from pgmq.q_flow") == 0
    lost = "select distinct error_type from pgflow.attempts"
    assert caller.value(lost) == "WorkerLost"


def test_nothing_of_a_failed_run_or_a_skipped_step_comes_back(caller: Caller) -> None:
    run = started(caller, "a", "b", max_attempts=1)
    caller.fail(run, "a")
    assert sweep(caller, 100) == 0
    assert caller.tasks(run)["b", 0]["status"] == "started"


def test_a_task_of_no_worker_is_requeued_too(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    message = caller.tasks(run)["a", 0]["message_id"]
    caller.do("select pgflow.start_tasks('flow', %s, null)", [message])
    assert sweep(caller, 100) == 1


def test_a_worker_that_stopped_may_still_end_what_it_has(caller: Caller) -> None:
    """pgflow's says that it stopped at the beginning of its end."""
    run = started(caller, "a")
    caller.do("select pgflow.mark_worker_stopped(worker_id) from pgflow.workers")
    assert sweep(caller) == 0
    assert sweep(caller, 91) == 1
    assert caller.tasks(run)["a", 0]["status"] == "queued"


def test_a_run_that_was_retried_has_not_stalled(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    for _ in range(4):
        caller.take(run, "a")
        sweep(caller, 91)
    assert caller.run(run)["status"] == "failed"
    caller.do("select pgflow.retry_run(%s)", run)
    task = caller.tasks(run)["a", 0]
    assert (task["requeued_count"], task["permanently_stalled_at"]) == (0, None)
    caller.take(run, "a")
    assert sweep(caller, 91) == 1
