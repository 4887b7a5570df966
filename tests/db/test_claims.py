"""Which tasks a claim takes, in which order, and what a commit hands over instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.db.claim import Task

from .hands import Hands
from .shapes import chain, flow, single, spread, step


def inputs(tasks: list[Task]) -> list[object]:
    return [json.loads(task.flow_input or "absent") for task in tasks]


def test_the_order_is_priority_then_due_time_then_age(hands: Hands) -> None:
    hands.define(single("flow"))
    for letter in "abcdef":
        hands.start("flow", letter)
    place = (
        "update pgflow.step_tasks t set priority = %s, ready_at = t.ready_at + %s::interval"
        " from pgflow.runs r where r.run_id = t.run_id and r.input = to_jsonb(%s::text)"
    )
    hands.conn.execute(place, (-1, "1 hour", "f"))
    hands.conn.execute(place, (0, "-1 hour", "e"))
    hands.conn.execute(place, (5, "-2 hours", "a"))
    assert [inputs(hands.claim(1)) for _ in range(3)] == [["f"], ["e"], ["b"]]
    assert inputs(hands.claim()) == ["c", "d", "a"]


def test_lanes_are_served_by_what_is_urgent_in_them(hands: Hands) -> None:
    for slug in ("x", "y", "z"):
        hands.define(single(slug))
    for number in range(4):
        for slug in ("x", "y"):
            hands.start(slug, f"{slug}{number}")
    hands.start("z", "urgent")
    hands.conn.execute("update pgflow.step_tasks set priority = -1 where queue = 'z'")
    assert inputs(hands.claim(4)) == ["urgent", "x0", "y0", "x1"]
    assert inputs(hands.claim(100)) == ["y1", "x2", "y2", "x3", "y3"]


def test_a_worker_without_lanes_gets_nothing(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.start("flow")
    assert Hands(hands.conn).claim() == []
    assert hands.claim(0) == []
    assert len(hands.claim(1)) == 1


def test_a_version_that_the_worker_has_no_code_for_is_left_alone(hands: Hands) -> None:
    old = hands.define(single("flow"))
    hands.start("flow", "old")
    new = hands.define(chain("flow", 2))
    hands.start("flow", "new")
    assert inputs(Hands(hands.conn, lanes=[("flow", new)]).claim()) == ["new"]
    assert inputs(Hands(hands.conn, lanes=[("flow", old)]).claim()) == ["old"]


def test_the_input_of_a_flow_comes_once_for_each_run_of_a_batch(hands: Hands) -> None:
    hands.define(flow("flow", step("a"), step("b"), step("c", takes_input=False)))
    hands.start("flow", "x", "y")
    told = [task.flow_input for task in hands.claim()]
    assert sorted(filter(None, told)) == ['"x"', '"y"']
    assert len(told) == 6


def test_a_finished_parent_hands_its_child_over(hands: Hands) -> None:
    hands.define(chain("flow"))
    hands.start("flow")
    turn = hands.complete(hands.claim(), "out", want=1)
    [task] = turn.tasks
    assert (task.step_slug, task.attempt, task.input) == ("s1", 1, '{"s0": "out"}')
    assert turn.ready == ()


@pytest.mark.parametrize("want", [0, 1, 3, 10])
def test_no_more_is_handed_over_than_wanted_and_the_rest_is_announced(
    hands: Hands, want: int
) -> None:
    hands.define(spread("flow"))
    hands.start("flow")
    turn = hands.complete(hands.claim(), [1, 2, 3, 4, 5], want=want)
    assert len(turn.tasks) == min(want, 5)
    assert turn.ready == (("flow",) if want < 5 else ())
    assert len(hands.claim()) == 5 - min(want, 5)


def test_nothing_of_a_lane_that_the_worker_does_not_serve_is_handed_over(hands: Hands) -> None:
    hands.define(chain("flow"))
    hands.start("flow")
    tasks = hands.claim()
    hands.lanes = [("other", 1)]
    turn = hands.complete(tasks, want=5)
    assert (turn.tasks, turn.ready) == ((), ("flow",))


def test_a_failed_run_hands_nothing_over(hands: Hands) -> None:
    hands.define(flow("flow", step("a"), step("b"), step("c", "a")))
    hands.start("flow", 1)
    a, b = sorted(hands.claim(), key=lambda task: task.step_slug)
    hands.fail([b], permanent=True)
    turn = hands.complete([a], want=5)
    assert (turn.stale, turn.tasks) == ({a.message_id}, ())


def test_a_run_that_fails_in_the_batch_hands_nothing_over(hands: Hands) -> None:
    failing = step("c", "a", required={"a": {"never": 1}}, unmet="fail")
    hands.define(flow("flow", step("a"), failing, step("d", "a")))
    hands.start("flow", 1)
    turn = hands.complete(hands.claim(), want=5)
    assert turn.tasks == ()
    assert hands.claim() == []


def test_a_release_puts_a_task_where_it_was(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.start("flow", "a")
    hands.start("flow", "b")
    hands.release(hands.claim(1))
    assert inputs(hands.claim()) == ["a", "b"]


def test_what_a_step_depends_on_is_the_text_of_one_document(hands: Hands) -> None:
    said: dict[str, Any] = {
        "b": None,
        "aa": 'ä "\\\n',
        "B": {"z": 1.5, "a": [1, {}]},
        "a_long": [],
        "skipped": 0,
    }
    parents = [step(slug, required={"never": 1} if slug == "skipped" else None) for slug in said]
    hands.define(flow("flow", *parents, step("all", *said)))
    hands.start("flow")
    for task in hands.claim():
        hands.complete([task], said[task.step_slug])
    [task] = hands.claim()
    assert json.loads(task.input or "") == {k: v for k, v in said.items() if k != "skipped"}
    as_jsonb = "select pgflow.outputs_for(%s, %s, 'all')::text"
    assert task.input == hands.value(as_jsonb, task.run_id, task.version_id)
