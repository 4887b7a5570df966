"""start_tasks."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from psycopg import errors

from tests.db.conftest import Connect
from tests.db.waiting import transaction, waits_for_none

from .calls import Caller


def inputs(caller: Caller, run: Any, step: str) -> list[tuple[Any, Any]]:
    return [(record["input"], record["flow_input"]) for record in caller.take(run, step)]


def test_a_task_that_is_started_says_so_in_its_row(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    run = caller.start("flow", {})
    worker = caller.register()
    [record] = caller.take(run, "a", worker)
    task = caller.tasks(run)["a", 0]
    assert record["msg_id"] == task["message_id"]
    assert (record["run_id"], record["step_slug"], record["task_index"]) == (run, "a", 0)
    assert (task["status"], task["attempts_count"]) == ("started", 1)
    assert (task["last_worker_id"], task["started_at"] is not None) == (worker, True)


def test_what_a_task_gets(caller: Caller) -> None:
    """A root single step the flow's input; a dependent one the outputs; an element itself."""
    caller.flow(
        "flow",
        ("list", ""),
        ("none", ""),
        ("gone", "", {"required": {"x": 1}}),
        ("each", "list", {"type": "map"}),
        ("join", "list none gone"),
    )
    run = caller.start("flow", {"n": 1})
    assert inputs(caller, run, "list") == [({}, {"n": 1})]
    caller.take(run, "none")
    caller.complete(run, "list", [1, None, [2]])
    caller.do("select pgflow.complete_task(%s, 'none', 0, null)", run)
    assert inputs(caller, run, "each") == [(1, None), (None, None), ([2], None)]
    nulls = caller.value("select count(*) from pgflow.step_tasks where input = 'null'")
    assert nulls == 1  # JSON null, not SQL NULL
    assert inputs(caller, run, "join") == [({"list": [1, None, [2]], "none": None}, None)]


def test_an_element_of_a_root_map_is_of_the_flow_s_input(caller: Caller) -> None:
    caller.flow("flow", ("m", "", {"type": "map"}), ("n", "m", {"type": "map"}))
    run = caller.start("flow", ["x", {"y": 1}])
    assert inputs(caller, run, "m") == [("x", None), ({"y": 1}, None)]
    caller.complete(run, "m", "X", 0)
    caller.complete(run, "m", None, 1)
    assert inputs(caller, run, "n") == [("X", None), (None, None)]


def test_only_what_can_be_had_is_handed_out_and_once(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""))
    caller.flow("other", ("a", ""))
    run, other = caller.start("flow"), caller.start("other")
    worker = caller.register()
    ids = [row["message_id"] for row in caller.rows("select message_id from pgflow.step_tasks")]
    take = "select step_slug, run_id from pgflow.start_tasks('flow', %s, %s) order by 1"
    assert [r["step_slug"] for r in caller.rows(take, [*ids, 10**9], worker)] == ["a", "b"]
    assert caller.rows(take, ids, worker) == []
    assert caller.tasks(other)["a", 0]["status"] == "queued"
    caller.complete(run, "a")
    assert caller.rows(take, ids, worker) == []
    assert caller.rows(take, [], worker) == []
    assert caller.rows(take, None, worker) == []


def test_a_task_of_a_failed_run_is_not_handed_out(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), max_attempts=1)
    run = caller.start("flow")
    caller.take(run, "a")
    caller.fail(run, "a")
    assert caller.take(run, "b") == []


def test_who_comes_second_gets_nothing_and_does_not_wait(caller: Caller, connect: Connect) -> None:
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    workers = [caller.register(), caller.register()]
    second = Caller(connect())
    with transaction(caller.conn):
        assert len(caller.take(run, "a", workers[0])) == 1
        assert waits_for_none(lambda: second.take(run, "a", workers[1]), second.conn) == []
    assert second.take(run, "a", workers[1]) == []
    assert caller.tasks(run)["a", 0]["attempts_count"] == 1


def test_an_unknown_worker_breaks_a_constraint(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    with pytest.raises(errors.ForeignKeyViolation, match="step_tasks_last_worker_id_fkey"):
        caller.take(run, "a", uuid4())


def test_a_message_in_hand_is_invisible_for_the_timeout_and_two_seconds(caller: Caller) -> None:
    caller.flow("flow", ("own", "", {"timeout": 600}), ("inherited", ""), timeout=30)
    run = caller.start("flow")
    for step, seconds in (("own", 602), ("inherited", 32)):
        caller.take(run, step)
        hidden = caller.value(
            "select extract(epoch from q.vt - t.started_at)::int from pgmq.q_flow q"
            " join pgflow.step_tasks t on t.message_id = q.msg_id where t.step_slug = %s",
            step,
        )
        assert hidden == seconds


def test_a_task_enqueued_in_the_same_transaction_can_be_started(caller: Caller) -> None:
    """The clock is no transaction's: nothing starts before it was queued."""
    caller.flow("flow", ("a", ""))
    with transaction(caller.conn):
        run = caller.start("flow")
        assert len(caller.take(run, "a")) == 1
    task = caller.tasks(run)["a", 0]
    assert task["started_at"] >= task["queued_at"]
