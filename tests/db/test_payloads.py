"""What runs carry: large lists, nothing at all, and every JSON value that looks like nothing."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import pytest

from stepwell.db.start import start_runs
from stepwell.errors import Conflict, DefinitionError, NotFound, PayloadError

from .hands import Hands
from .shapes import chain, flow, single, spread, step

LARGE = 100_000
FALSY: list[Any] = [None, 0, "", False, [], {}]


@pytest.mark.timeout(300)
def test_a_list_of_a_hundred_thousand_elements_is_mapped_and_gathered(hands: Hands) -> None:
    hands.define(spread("flow"))
    [run] = hands.start("flow")
    list_task = hands.claim()
    began = time.perf_counter()
    hands.complete(list_task, list(range(LARGE)))
    started = time.perf_counter()
    while tasks := hands.claim(5000):
        hands.complete(tasks, 1)
    ended = time.perf_counter()
    print(f"{LARGE} elements: fan-out {started - began:.1f} s, the rest {ended - started:.1f} s")
    assert hands.status(run) == "completed"
    length = "select jsonb_array_length(output) from pgflow.step_states where step_slug = 'each'"
    assert hands.value(length) == LARGE


@pytest.mark.timeout(180)
def test_a_run_over_a_hundred_thousand_elements_starts_and_can_be_cancelled(hands: Hands) -> None:
    hands.define(flow("flow", step("each", map=True)))
    began = time.perf_counter()
    [run] = hands.start("flow", list(range(LARGE)))
    print(f"{LARGE} elements: start {time.perf_counter() - began:.1f} s")
    assert hands.value("select count(*) from pgflow.step_tasks where stage = 'ready'") == LARGE
    assert hands.cancel(run)
    assert hands.claim() == []


def test_an_empty_list_completes_a_map_and_what_follows_it(hands: Hands) -> None:
    hands.define(spread("flow"))
    [run] = hands.start("flow")
    turn = hands.complete(hands.claim(), [], want=5)
    assert [(task.step_slug, task.input) for task in turn.tasks] == [("total", '{"each": []}')]
    hands.complete(turn.tasks)
    assert hands.status(run) == "completed"


def test_a_root_map_over_nothing_completes_its_run_at_once(hands: Hands) -> None:
    hands.define(flow("flow", step("each", map=True)))
    [run] = hands.start("flow", [])
    assert hands.status(run) == "completed"
    assert hands.value("select output from pgflow.runs") == {"each": []}


@pytest.mark.parametrize("value", FALSY, ids=json.dumps)
def test_a_value_that_looks_like_nothing_goes_through(hands: Hands, value: Any) -> None:
    hands.define(chain("flow", 2))
    [run] = hands.start("flow", value)
    [task] = hands.claim()
    assert json.loads(task.flow_input or "absent") == value
    [child] = hands.complete([task], value, want=1).tasks
    assert json.loads(child.input or "absent") == {"s0": value}
    hands.complete([child], value)
    assert hands.rows("select status, output from pgflow.runs where run_id = %s", run) == [
        ("completed", {"s1": value})
    ]


def test_elements_that_look_like_nothing_are_elements(hands: Hands) -> None:
    hands.define(flow("flow", step("each", map=True)))
    hands.start("flow", FALSY)
    tasks = hands.claim()
    assert [json.loads(task.input or "absent") for task in tasks] == FALSY
    for task in tasks:
        hands.complete([task], FALSY[task.task_index])
    assert hands.value("select output from pgflow.runs") == {"each": FALSY}


def test_the_same_key_is_the_same_run_until_it_has_ended(hands: Hands) -> None:
    hands.define(single("flow"))
    [first] = hands.start("flow", 1, keys=["k"])
    [again] = hands.started("flow", [2], ["k"])
    assert (again.run_id, again.created) == (first, False)
    assert hands.drain() == 1
    [other] = hands.started("flow", [2], ["k"])
    assert other.created and other.run_id != first


def test_a_key_and_no_key_in_one_call_keep_their_places(hands: Hands) -> None:
    hands.define(single("flow"))
    rows = hands.started("flow", [1, 2, 3, 4], ["z", None, "a", "z"])
    assert [row.position for row in rows] == [1, 2, 3, 4]
    assert [row.created for row in rows] == [True, True, True, False]
    assert rows[0].run_id == rows[3].run_id
    by_run = dict(hands.rows("select run_id, input from pgflow.runs"))
    assert [by_run[row.run_id] for row in rows[:3]] == [1, 2, 3]


def test_a_key_belongs_to_one_flow(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.define(single("other"))
    hands.start("flow", 1, keys=["k"])
    with pytest.raises(Conflict, match="'k' belongs to run"):
        hands.start("other", 1, keys=["k"])


def test_the_same_run_id_is_the_same_run(hands: Hands) -> None:
    hands.define(single("flow"))
    run = uuid4()
    calls = [start_runs("flow", ["1"], [run], [None]).on_sync(hands.conn)[0] for _ in range(2)]
    assert [(row.run_id, row.created) for row in calls] == [(run, True), (run, False)]
    both = start_runs("flow", ["1", "2"], [twice := uuid4(), twice], [None, None])
    assert [row.created for row in both.on_sync(hands.conn)] == [True, False]


@pytest.mark.parametrize("ids", [0, 2, 4])
def test_no_input_is_left_out_for_want_of_a_run_id(hands: Hands, ids: int) -> None:
    hands.define(single("flow"))
    call = start_runs("flow", ["1", "2", "3"], [uuid4() for _ in range(ids)], [None] * 3)
    with pytest.raises(DefinitionError, match=f"{ids} run ids are no ids for 3 inputs"):
        call.on_sync(hands.conn)
    assert hands.value("select count(*) from pgflow.runs") == 0


def test_a_flow_that_nobody_deployed_is_named(hands: Hands) -> None:
    with pytest.raises(NotFound, match="job 'nope'"):
        hands.start("nope")


@pytest.mark.parametrize("value", [None, {}, "x", 5])
def test_a_root_map_refuses_what_is_no_list(hands: Hands, value: Any) -> None:
    hands.define(flow("flow", step("each", map=True)))
    with pytest.raises(PayloadError, match=r"root map steps but input is not an array.*a list$"):
        hands.start("flow", [1], value)
    assert hands.rows("select count(*) from pgflow.runs") == [(0,)]
