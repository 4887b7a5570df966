"""complete_task, and what type a map wants."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.db.conftest import Connect
from tests.db.waiting import held_up, transaction

from .calls import Caller


def open_messages(caller: Caller) -> int:
    return caller.value("select count(*) from pgmq.q_flow")


def archived(caller: Caller) -> int:
    return caller.value("select count(*) from pgmq.a_flow")


def test_the_task_comes_back_and_its_step_and_run_are_complete(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    caller.take(run, "a")
    [task] = caller.complete(run, "a", {"n": 0})
    assert (task["status"], task["output"]) == ("completed", {"n": 0})
    assert task["completed_at"] >= task["started_at"]
    state = caller.steps(run)["a"]
    assert (state["status"], state["output"], state["remaining_tasks"]) == (
        *("completed", {"n": 0}),
        0,
    )
    assert caller.run(run) == {
        "status": "completed",
        "remaining_steps": 0,
        "output": {"a": {"n": 0}},
        "completed": True,
        "failed": False,
    }
    assert (open_messages(caller), archived(caller)) == (0, 1)


@pytest.mark.parametrize("output", [0, "", False, None, [], {}])
def test_a_falsy_output_stays_what_it_is(caller: Caller, output: Any) -> None:
    caller.flow("flow", ("a", ""), ("b", "a"))
    run = caller.start("flow")
    caller.take(run, "a")
    caller.complete(run, "a", output)
    [record] = caller.take(run, "b")
    assert record["input"] == {"a": output}


def test_children_start_when_their_last_parent_is_complete(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), ("c", "a b"))
    run = caller.start("flow")
    for step in ("a", "b"):
        caller.take(run, step)
    caller.complete(run, "a")
    assert caller.steps(run)["c"]["remaining_deps"] == 1
    assert caller.run(run)["remaining_steps"] == 2
    caller.complete(run, "b")
    state = caller.steps(run)["c"]
    assert (state["status"], state["remaining_deps"], state["remaining_tasks"]) == ("started", 0, 1)


def test_a_map_gathers_its_outputs_in_order(caller: Caller) -> None:
    caller.flow("flow", ("m", "", {"type": "map"}), ("n", "m", {"type": "map"}))
    run = caller.start("flow", [1, 2, 3])
    caller.take(run, "m")
    caller.complete(run, "m", "c", 2)
    caller.do("select pgflow.complete_task(%s, 'm', 1, null)", run)
    assert caller.steps(run)["m"]["remaining_tasks"] == 1
    caller.complete(run, "m", "a", 0)
    assert caller.steps(run)["m"]["output"] == ["a", None, "c"]
    assert caller.steps(run)["n"]["initial_tasks"] == 3


def test_the_output_of_a_run_is_that_of_its_completed_leaves(caller: Caller) -> None:
    caller.flow(
        "flow", ("a", ""), ("leaf", "a"), ("null", "a"), ("gone", "a", {"required": {"a": 9}})
    )
    run = caller.start("flow")
    caller.take(run, "a")
    caller.complete(run, "a", 1)
    for step in ("leaf", "null"):
        caller.take(run, step)
    caller.complete(run, "leaf", 2)
    caller.do("select pgflow.complete_task(%s, 'null', 0, null)", run)
    assert caller.run(run)["output"] == {"leaf": 2, "null": None}


def test_a_run_whose_leaves_were_all_skipped_has_no_output(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", "a", {"required": {"a": 9}}))
    run = caller.start("flow")
    caller.take(run, "a")
    caller.complete(run, "a", 1)
    assert (caller.run(run)["status"], caller.run(run)["output"]) == ("completed", None)


def test_what_is_unknown_queued_or_complete_is_left_alone(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", "a"))
    run = caller.start("flow")
    assert caller.complete(uuid4(), "a") == []
    assert caller.complete(run, "x") == []
    assert [t["status"] for t in caller.complete(run, "a")] == ["queued"]
    caller.take(run, "a")
    caller.complete(run, "a", "first")
    [task] = caller.complete(run, "a", "second")
    assert (task["status"], task["output"]) == ("completed", "first")
    assert caller.run(run)["remaining_steps"] == 1
    assert len(caller.tasks(run)) == 2


def test_in_a_failed_run_nothing_completes(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), max_attempts=1)
    run = caller.start("flow")
    for step in ("a", "b"):
        caller.take(run, step)
    caller.fail(run, "a")
    [task] = caller.complete(run, "b", 1)
    assert (task["status"], task["output"]) == ("started", None)
    assert caller.statuses(run) == {"a": "failed", "b": "started"}
    assert caller.run(run)["remaining_steps"] == 2


def test_an_outcome_that_waited_for_the_failure_of_its_run_is_not_written(
    caller: Caller, connect: Connect
) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), max_attempts=1)
    run = caller.start("flow")
    for step in ("a", "b"):
        caller.take(run, step)
    late = Caller(connect())
    with transaction(caller.conn):
        caller.fail(run, "a")
        completing = held_up(lambda: late.complete(run, "b", 1), late.conn, caller.conn)
    assert [task["status"] for task in completing.result(30)] == ["started"]
    assert caller.statuses(run)["b"] == "started"


def test_the_second_of_two_at_once_finds_the_first_s(caller: Caller, connect: Connect) -> None:
    caller.flow("flow", ("a", ""), ("b", "a"))
    run = caller.start("flow")
    caller.take(run, "a")
    late = Caller(connect())
    with transaction(caller.conn):
        caller.complete(run, "a", "first")
        completing = held_up(lambda: late.complete(run, "a", "second"), late.conn, caller.conn)
    assert [task["output"] for task in completing.result(30)] == ["first"]
    assert len([key for key in caller.tasks(run) if key[0] == "b"]) == 1


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ("null", "null"),
        (None, "null"),
        ("{}", "object"),
        ("1", "number"),
        ('"x"', "string"),
        ("true", "boolean"),
    ],
)
def test_a_map_s_parent_must_give_an_array(caller: Caller, output: str | None, kind: str) -> None:
    caller.flow("flow", ("a", ""), ("m", "a", {"type": "map"}), ("b", ""))
    run = caller.start("flow")
    for step in ("a", "b"):
        caller.take(run, step)
    [task] = caller.rows("select * from pgflow.complete_task(%s, 'a', 0, %s)", run, output)
    assert (task["status"], task["output"] is None) == ("failed", output in (None, "null"))
    assert task["error_message"] == f"[TYPE_VIOLATION] Produced {kind} instead of array"
    assert task["failed_at"] is not None
    state = caller.steps(run)["a"]
    assert (state["status"], state["error_message"]) == (
        "failed",
        f"[TYPE_VIOLATION] Map step m expects array input but dependency a produced {kind}",
    )
    assert (caller.run(run)["status"], caller.run(run)["failed"]) == ("failed", True)
    assert caller.steps(run)["m"]["status"] == "created"
    assert caller.tasks(run)["b", 0]["status"] == "started"  # as it was
    assert open_messages(caller) == 0


def test_a_type_violation_fails_hard_whatever_the_step_says(caller: Caller) -> None:
    caller.flow("flow", ("a", "", {"exhausted": "skip"}), ("m", "a", {"type": "map"}))
    run = caller.start("flow")
    caller.take(run, "a")
    caller.complete(run, "a", {})
    assert caller.run(run)["status"] == "failed"


def test_a_chain_of_any_length_is_resolved_in_one_call(caller: Caller) -> None:
    """Of empty maps, and of skips: pgflow gives up at fifty."""
    names = [f"m{n}" for n in range(60)]
    chain = [(name, names[n - 1] if n else "a", {"type": "map"}) for n, name in enumerate(names)]
    caller.flow("flow", ("a", ""), *chain)
    run = caller.start("flow")
    caller.take(run, "a")
    caller.complete(run, "a", [])
    assert caller.run(run)["output"] == {"m59": []}


def test_conditions_behind_an_empty_map_are_asked(caller: Caller) -> None:
    caller.flow(
        "flow",
        ("m", "", {"type": "map"}),
        ("single", "m", {"required": {"m": [1]}}),
        ("map", "m", {"type": "map", "forbidden": {"m": []}}),
    )
    run = caller.start("flow", [])
    assert caller.statuses(run) == {"m": "completed", "single": "skipped", "map": "skipped"}
    assert caller.run(run)["status"] == "completed"
