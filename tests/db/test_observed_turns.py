"""What workers that trace or measure are told beside a turn, and that measuring is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell.db.commit import Entry, Turn, observed_turn, turn_of

from .explain import explained
from .hands import Hands, completed
from .kinds import child, job, machine, says
from .shapes import chain, single

pytestmark = pytest.mark.timeout(60)
TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


def turn(hands: Hands, *entries: Entry, want: int = 0) -> Turn:
    queues, versions = zip(*hands.lanes, strict=True)
    call = observed_turn(hands.id, entries, queues, versions, want)
    return turn_of(hands.conn.execute(call.sql, call.args, binary=True).fetchall())


def traces_of(turn: Turn) -> list[Any]:
    return [task.trace and json.loads(task.trace) for task in turn.tasks]


def measured(hands: Hands, metric: str) -> dict[str, float]:
    """By label."""
    sql = "select label, value from pgflow.measure() where metric = %s"
    return dict(hands.conn.execute(sql, (metric,)).fetchall())


def test_a_task_says_its_trace_and_for_how_long_it_was_ready(hands: Hands) -> None:
    hands.define(chain("chain"))
    hands.conn.execute("set pgflow.now = '2030-01-01 00:00:00Z'")
    traced = hands.begin("chain", 1, trace=TRACE)
    plain = hands.begin("chain", 1)
    hands.conn.execute("set pgflow.now = '2030-01-01 00:00:07Z'")
    found = {task.run_id: task for task in turn(hands, want=2).tasks}
    assert json.loads(found[traced].trace or "") == TRACE
    assert found[plain].trace is None
    assert {task.waited for task in found.values()} == {7.0}
    handed = turn(hands, *(completed(task, 1) for task in found.values()), want=2)
    assert {task.run_id: task.trace is not None for task in handed.tasks} == {
        traced: True,
        plain: False,
    }
    assert {task.waited for task in handed.tasks} == {0.0}
    hands.release(handed.tasks)
    assert {task.run_id for task in hands.claim()} == {traced, plain}  # as workers of before ask
    hands.conn.execute("reset pgflow.now")


def test_a_turn_tells_once_of_each_run_that_it_ended(hands: Hands) -> None:
    hands.define(single("single"))
    hands.define(job("task"))
    run, other = hands.start("single", 1)[0], hands.begin("task")
    tasks = turn(hands, want=2).tasks
    done = turn(hands, *(completed(task, 1) for task in tasks))
    assert {(end.run_id, end.flow_slug, end.kind, end.status) for end in done.ended} == {
        (run, "single", "flow", "completed"),
        (other, "task", "job", "completed"),
    }
    assert all(end.seconds >= 0 for end in done.ended)
    again = turn(hands, *(completed(task, 1) for task in tasks))
    assert again.ended == () and len(again.stale) == 2


def test_children_are_part_of_the_trace_of_who_spawned_them(hands: Hands) -> None:
    hands.define(machine("parent", "begin", "end"))
    hands.define(job("child"))
    hands.begin("parent", trace=TRACE)
    [task] = turn(hands, want=1).tasks
    other = {"traceparent": TRACE["traceparent"].replace("b7", "c8"), "tracestate": "a=1"}
    spawned = turn(hands, says(task, "spawn", step="end", children=[child("child")]), want=1)
    assert traces_of(spawned) == [TRACE]  # its worker does not trace
    stages = measured(hands, "tasks")
    assert (stages["parked"], stages["running"], stages["delayed"]) == (1, 1, 0)
    [joined] = turn(hands, completed(spawned.tasks[0]), want=1).tasks
    again = says(joined, "spawn", step="end", children=[child("child")], trace=other)
    last = turn(hands, again, want=1)
    assert traces_of(last) == [other]
    turn(hands, completed(last.tasks[0]))
    assert measured(hands, "tasks")["parked"] == 0
    hands.conn.execute(
        "select pgflow.cancel_run(run_id) from pgflow.runs where parent_run_id is null"
    )


def test_observing_takes_as_many_statements_for_one_task_as_for_many(hands: Hands) -> None:
    hands.define(single("single"))
    counts: set[int] = set()
    for batch in (1, 300):
        hands.start("single", *range(batch))
        tasks = turn(hands, want=batch).tasks
        counts.add(len(explained(hands.conn, lambda t=tasks: turn(hands, *map(completed, t)))))
        hands.drain()
    assert len(counts) == 1
