"""fail_task."""

from __future__ import annotations

from uuid import uuid4

import pytest

from .calls import Caller, Row


def delay(caller: Caller, run: object) -> int:
    return caller.value(
        "select round(extract(epoch from ready_at - pgflow.now()))::int"
        " from pgflow.step_tasks where run_id = %s",
        run,
    )


def test_a_task_with_attempts_left_goes_back_to_the_queue(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", ("a", ""), max_attempts=3, base_delay=7)
    run = caller.start("flow")
    worker = caller.register()
    for attempt, seconds in ((1, 14), (2, 28)):
        caller.take(run, "a", worker)
        [task] = caller.fail(run, "a", f"boom {attempt}")
        assert (task["status"], task["attempts_count"]) == ("queued", attempt)
        assert (task["error_message"], task["started_at"]) == (f"boom {attempt}", None)
        assert (task["failed_at"], task["last_worker_id"]) == (None, worker)
        assert delay(caller, run) == seconds
        vt = "select round(extract(epoch from vt - pgflow.now()))::int from pgmq.q_flow"
        assert caller.value(vt) == seconds
    assert caller.statuses(run) == {"a": "started"}


def test_a_step_s_own_options_come_before_the_flow_s(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow(
        "flow", ("a", "", {"max_attempts": 2, "base_delay": 1}), max_attempts=1, base_delay=9
    )
    run = caller.start("flow")
    caller.take(run, "a")
    assert [t["status"] for t in caller.fail(run, "a")] == ["queued"]
    assert delay(caller, run) == 2
    caller.take(run, "a")
    assert [t["status"] for t in caller.fail(run, "a")] == ["failed"]


@pytest.mark.parametrize("attempts", [0, 1])
def test_no_attempts_and_one_are_the_same(caller: Caller, attempts: int) -> None:
    caller.flow("flow", ("a", ""), max_attempts=attempts)
    run = caller.start("flow")
    caller.take(run, "a")
    assert [t["status"] for t in caller.fail(run, "a")] == ["failed"]


def test_out_of_attempts_the_step_fails_and_ends_its_run(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), ("c", ""), ("d", "a"), max_attempts=1)
    run = caller.start("flow")
    for step in ("a", "b"):
        caller.take(run, step)
    [task] = caller.fail(run, "a", "boom")
    assert (task["status"], task["error_message"]) == ("failed", "boom")
    assert task["failed_at"] is not None
    state = caller.steps(run)["a"]
    assert (state["status"], state["error_message"]) == ("failed", "boom")
    assert caller.run(run) == {
        "status": "failed",
        "remaining_steps": 4,
        "output": None,
        "completed": False,
        "failed": True,
    }
    # the others stay what they were, and nothing of them is in the queue
    assert caller.statuses(run) == {"a": "failed", "b": "started", "c": "started", "d": "created"}
    tasks = {key[0]: row["status"] for key, row in caller.tasks(run).items()}
    assert tasks == {"a": "failed", "b": "started", "c": "queued"}
    assert caller.value("select count(*) from pgmq.q_flow") == 0
    assert caller.value("select count(*) from pgmq.a_flow") == 3


def test_skip_lets_the_others_go_on_without_it(caller: Caller) -> None:
    caller.flow(
        "flow",
        ("m", "", {"type": "map", "exhausted": "skip"}),
        ("each", "m", {"type": "map"}),
        ("after", "m"),
        max_attempts=1,
    )
    run = caller.start("flow", [1, 2, 3])
    caller.take(run, "m")
    caller.complete(run, "m", 1, 0)
    caller.fail(run, "m", "boom", 1)
    m = caller.steps(run)["m"]
    assert (m["status"], m["skip_reason"], m["error_message"]) == (
        *("skipped", "handler_failed"),
        "boom",
    )
    assert (m["remaining_tasks"], m["skipped_at"] is not None) == (None, True)
    tasks = {
        index: row["status"] for (step, index), row in caller.tasks(run).items() if step == "m"
    }
    assert tasks == {0: "completed", 1: "failed", 2: "started"}
    each = caller.steps(run)["each"]
    assert (each["status"], each["output"]) == ("completed", [])
    [record] = caller.take(run, "after")
    assert record["input"] == {}
    caller.complete(run, "after", 1)
    assert caller.run(run)["status"] == "completed"


def test_skip_cascade_takes_all_that_follows_along(caller: Caller) -> None:
    caller.flow(
        "flow",
        ("a", "", {"exhausted": "skip-cascade"}),
        ("b", ""),
        ("c", "a b"),
        ("d", "c"),
        max_attempts=1,
    )
    run = caller.start("flow")
    caller.take(run, "a")
    caller.fail(run, "a", "boom")
    reasons = {slug: row["skip_reason"] for slug, row in caller.steps(run).items()}
    assert reasons == {
        "a": "handler_failed",
        "b": None,
        "c": "dependency_skipped",
        "d": "dependency_skipped",
    }
    assert caller.steps(run)["c"]["remaining_deps"] == 2
    assert caller.run(run)["remaining_steps"] == 1
    caller.take(run, "b")
    caller.complete(run, "b", 1)
    assert caller.run(run)["output"] is None


def test_a_condition_of_what_goes_on_may_fail_the_run(caller: Caller) -> None:
    unmet: Row = {"required": {"a": {}}, "unmet": "fail"}
    caller.flow("flow", ("a", "", {"exhausted": "skip"}), ("b", "a", unmet), max_attempts=1)
    run = caller.start("flow")
    caller.take(run, "a")
    [task] = caller.fail(run, "a", "boom")
    assert task["status"] == "failed"
    assert caller.statuses(run) == {"a": "skipped", "b": "failed"}
    assert caller.run(run)["status"] == "failed"


def test_what_is_unknown_queued_or_over_is_left_alone(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), base_delay=100)
    run = caller.start("flow")
    assert caller.fail(uuid4(), "a") == []
    assert caller.fail(run, "x") == []
    before = caller.tasks(run)["a", 0]
    [task] = caller.fail(run, "a")
    assert task == before  # nor does its message move
    caller.take(run, "a")
    caller.complete(run, "a", 1)
    assert [t["status"] for t in caller.fail(run, "a")] == ["completed"]
    assert caller.statuses(run)["a"] == "completed"


def test_a_late_failure_in_a_failed_run_is_kept_in_its_task_alone(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), ("c", ""), max_attempts=1)
    run = caller.start("flow")
    for step in ("a", "b"):
        caller.take(run, step)
    caller.fail(run, "a", "boom")
    [task] = caller.fail(run, "b", "too late")
    assert (task["status"], task["error_message"]) == ("failed", "too late")
    assert task["failed_at"] is not None
    assert [t["status"] for t in caller.fail(run, "c", "never")] == ["queued"]
    assert caller.statuses(run)["b"] == "started"
    message = caller.value("select error_message from pgflow.runs where run_id = %s", run)
    assert message == "boom"
    assert caller.value("select pgflow.retry_run(%s)", run) is True
    assert {row["status"] for row in caller.tasks(run).values()} == {"queued"}


def test_a_failure_without_a_message_is_told_as_one(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), max_attempts=1)
    run = caller.start("flow")
    caller.take(run, "a")
    rows = caller.rows("select * from pgflow.fail_task(%s, 'a', 0, null)", run)
    assert [row["status"] for row in rows] == ["failed"]
