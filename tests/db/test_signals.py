"""Signals: none sent to a live run is lost, none is consumed but by who went on with it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from stepwell.db.claim import Task
from stepwell.db.signal import SignalRow, signals_of
from stepwell.errors import NoTarget
from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import machine, says
from .shapes import Shape, flow, step


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def order(hands: Hands) -> Hands:
    hands.define(machine("order", "place", "ship"))
    return hands


def waiting(hands: Hands, *names: str, **options: Any) -> Task:
    """A machine that waits; the task that it was."""
    hands.begin("order", {}, "k")
    [task] = hands.claim(1)
    hands.commit([says(task, "await", step="ship", names=list(names), handed=[], **options)])
    return task


def awaited(task: Task) -> list[Any]:
    return [each["payload"] for each in json.loads(task.signals or "null")]


def handed(task: Task) -> list[int]:
    return [each["id"] for each in json.loads(task.signals or "null")]


def inbox(hands: Hands, task: Task) -> list[SignalRow]:
    return signals_of(task.run_id, 100).on_sync(hands.conn)


def consumed(hands: Hands, task: Task) -> list[bool]:
    return [row.consumed_at is not None for row in inbox(hands, task)]


# --- sending ---


def test_a_dedup_key_is_remembered_as_long_as_the_run_is_kept(order: Hands) -> None:
    task = waiting(order, "paid")
    first = order.send("k", "paid", 1, "d")
    [task] = order.claim()
    [task] = order.commit([says(task, "next", step="place", handed=handed(task))], want=1).tasks
    again = order.send("k", "paid", 2, "d")  # consumed meanwhile
    assert (first.created, again.created, again.signal_id) == (True, False, first.signal_id)
    assert again.queue is None
    order.commit([says(task, "await", step="ship", names=["paid"], handed=[])])
    assert order.claim() == []
    assert [json.loads(row.payload) for row in inbox(order, task)] == [1]


def test_a_dedup_key_belongs_to_one_run(order: Hands) -> None:
    one, two = order.begin("order"), order.begin("order")
    assert order.send(one, "paid", 1, "d").created
    assert order.send(two, "paid", 1, "d").created
    assert order.send(one, "paid", 1).created and order.send(one, "paid", 1).created


@pytest.mark.parametrize("end", ["done", "stop", "cancel", "never was"])
def test_there_is_no_target_that_is_not_live(order: Hands, end: str) -> None:
    run = order.begin("order", {}, "k")
    if end == "cancel":
        order.cancel(run)
    elif end == "never was":
        run = uuid4()
    else:
        order.commit([says(order.claim()[0], end, error=None)])
    with pytest.raises(NoTarget, match=str(run)):
        order.send(run, "paid")
    with pytest.raises(NoTarget, match="with the key 'nobody'"):
        order.send("nobody", "paid")
    if end != "never was":
        with pytest.raises(NoTarget, match="with the key 'k'"):
            order.send("k", "paid")
    assert order.rows("select count(*) from pgflow.signals where run_id = %s", run) == [(0,)]


def test_a_key_that_is_kept_after_the_end_is_no_target(order: Hands) -> None:
    order.begin("order", {}, "k", key_until="infinity")
    order.commit([says(order.claim()[0], "done")])
    with pytest.raises(NoTarget):
        order.send("k", "paid")


def test_a_signal_has_a_name(order: Hands) -> None:
    order.begin("order", {}, "k")
    with pytest.raises(Exception, match="a signal has a name"):
        order.send("k", "")


@pytest.mark.parametrize(
    "payload", [None, True, 0, 1.5, "", "x", [], [1, [None]], {}, {"a": [None]}], ids=json.dumps
)
def test_a_payload_is_any_json(order: Hands, payload: Any) -> None:
    waiting(order, "paid")
    order.send("k", "paid", payload)
    [task] = order.claim()
    assert awaited(task) == [payload]


def test_a_signal_answers_with_the_queue_to_wake(order: Hands) -> None:
    waiting(order, "paid")
    assert order.send("k", "other").queue is None
    assert order.send("k", "paid").queue == "order"
    assert order.send("k", "paid").queue is None  # it is awake


# --- waiting ---


def test_a_signal_that_was_there_before_is_handed_at_once(order: Hands) -> None:
    order.begin("order", {}, "k")
    [task] = order.claim()
    order.send("k", "paid", 1)
    said = says(task, "await", step="ship", names=["paid"], handed=[])
    [task] = order.commit([said], want=1).tasks
    assert (task.step_slug, awaited(task)) == ("ship", [1])


def test_any_of_several_wakes(order: Hands) -> None:
    waiting(order, "paid", "cancelled")
    order.send("k", "nonsense")
    assert order.claim() == []
    order.send("k", "cancelled", 2)
    [task] = order.claim()
    assert awaited(task) == [2]


def test_all_of_several_wake_when_the_last_is_there(order: Hands) -> None:
    waiting(order, "paid", "packed", all=True)
    for _ in range(3):
        order.send("k", "packed")
    assert order.claim() == []
    order.send("k", "paid")
    [task] = order.claim()
    assert len(awaited(task)) == 4


def test_all_counts_what_was_seen_before_but_wants_something_new(order: Hands) -> None:
    waiting(order, "paid", "packed", all=True)
    order.send("k", "paid")
    order.send("k", "packed")
    [task] = order.claim()
    more = says(task, "await", step="ship", names=["paid", "packed"], all=True, handed=handed(task))
    order.commit([more])
    assert order.claim() == []
    order.send("k", "paid")
    [task] = order.claim()
    assert len(awaited(task)) == 3


def test_a_collector_waits_again_without_spinning_until_its_set_is_complete(order: Hands) -> None:
    task = waiting(order, "vote")
    for n in range(5):
        order.send("k", "vote", n)
        [task] = order.claim()
        assert awaited(task) == list(range(n + 1))
        word = "done" if n == 4 else "await"
        more = says(task, word, step="ship", names=["vote"], handed=handed(task), result=n)
        turn = order.commit([more], want=5)
        assert (turn.tasks, order.claim()) == ((), [])
    assert all(consumed(order, task))
    assert order.status(task.run_id) == "completed"


def test_a_signal_that_came_while_the_step_ran_wakes_it_again(order: Hands) -> None:
    """What it was handed does not, whatever the ids' order."""
    waiting(order, "vote")
    order.send("k", "vote", 1)
    [task] = order.claim()
    order.send("k", "vote", 2)
    more = says(task, "await", step="ship", names=["vote"], handed=handed(task))
    [task] = order.commit([more], want=1).tasks
    assert awaited(task) == [1, 2]


def test_a_step_is_handed_a_thousand_signals_at_most(order: Hands) -> None:
    waiting(order, "vote")
    order.conn.execute(
        "insert into pgflow.signals (run_id, name, payload) select run_id, 'vote', to_jsonb(n)"
        " from pgflow.runs, generate_series(1, 1500) n order by n"
    )
    order.send("k", "vote", 1501)
    [task] = order.claim()
    assert awaited(task) == list(range(1, 1001))
    said = says(task, "next", step="place", handed=handed(task))
    [task] = order.commit([said], want=1).tasks
    said = says(task, "await", step="ship", names=["vote"], handed=[])
    [task] = order.commit([said], want=1).tasks
    assert awaited(task) == list(range(1001, 1502))


# --- consuming ---


@pytest.mark.parametrize(
    ("word", "progress"),
    [
        ("next", True),
        ("spawn", True),
        ("done", True),
        ("await", True),  # for others: what it waits for again it collects
        ("stop", False),
        ("retry", False),
        ("failed", False),
    ],
)
def test_only_a_step_that_goes_on_consumes_what_it_was_handed(
    order: Hands, word: str, progress: bool
) -> None:
    waiting(order, "paid")
    order.send("k", "paid", "handed")
    [task] = order.claim()
    order.send("k", "paid", "later")
    order.send("k", "other", "unasked")
    more: dict[str, Any] = {} if word == "failed" else {"handed": handed(task)}
    order.commit([says(task, word, step="place", names=["x"], delay=0, children=[], **more)])
    assert consumed(order, task) == [progress, False, False]


def test_a_step_consumes_only_signals_of_its_own_run(order: Hands) -> None:
    victim = order.begin("order", {}, "victim")
    theirs = order.send("victim", "paid").signal_id
    order.begin("order", {}, "k")
    tasks = {task.run_id: task for task in order.claim()}
    mine = tasks.pop(victim) and next(iter(tasks.values()))
    order.commit([says(mine, "next", step="ship", handed=[theirs])])
    assert [row.consumed_at for row in signals_of(victim, 10).on_sync(order.conn)] == [None]


def test_a_lost_worker_consumes_nothing_and_the_next_is_handed_the_same(order: Hands) -> None:
    order.register()
    waiting(order, "paid")
    order.send("k", "paid", 1)
    [lost] = order.claim()
    order.lost()
    order.reclaim()
    [again] = order.claim()
    assert awaited(again) == awaited(lost) == [1]
    late = order.commit([says(lost, "done", handed=handed(lost))])
    assert late.stale == {lost.message_id}
    assert consumed(order, again) == [False]


# --- giving up ---


def test_after_the_timeout_it_goes_on_with_what_there_is(order: Hands) -> None:
    order.stop_clock()
    waiting(order, "paid", "packed", all=True, timeout=60)
    order.send("k", "paid", 1)
    order.at("59 seconds")
    assert order.promote().promoted == 0
    order.at("61 seconds")
    assert order.promote().queues == ["order"]
    [task] = order.claim()
    assert (task.step_slug, awaited(task), task.attempt) == ("ship", [1], 1)


def test_a_signal_before_the_timeout_wins_and_the_timeout_is_gone(order: Hands) -> None:
    waiting(order, "paid", timeout=60)
    order.send("k", "paid", 1)
    order.at("61 seconds")
    assert order.promote().promoted == 0
    [task] = order.claim()
    assert awaited(task) == [1]
    order.commit([says(task, "done")])
    assert order.promote().next_due is None


def test_a_signal_after_the_timeout_is_handed_by_the_same_claim(order: Hands) -> None:
    waiting(order, "paid", timeout=60)
    order.at("61 seconds")
    order.promote()
    order.send("k", "paid", 1)
    [task] = order.claim()
    assert awaited(task) == [1]


# --- flows ---


def signal(slug: str, name: str, *after: str, **options: Any) -> Shape:
    return step(slug, *after, **options) | {"stepType": "signal", "signalName": name}


def test_two_steps_of_one_name_get_a_signal_each(hands: Hands) -> None:
    hands.define(flow("flow", signal("a", "ok"), signal("b", "ok")))
    [run] = hands.start("flow")
    hands.send(run, "ok", 1)
    [one] = hands.claim()
    hands.send(run, "ok", 2)
    [two] = hands.claim()
    hands.send(run, "ok", 3)  # nobody waits for it
    assert (awaited(one), awaited(two)) == ([1], [2])
    for task in (one, two):
        hands.complete([task], awaited(task)[0])
    assert hands.value("select output from pgflow.runs") == {"a": 1, "b": 2}
    assert hands.rows("select count(*) from pgflow.signals where consumed_at is null") == [(1,)]


def test_a_signal_before_its_step_waits_for_it(hands: Hands) -> None:
    hands.define(flow("flow", step("first"), signal("approved", "ok", "first")))
    [run] = hands.start("flow")
    assert hands.send(run, "ok", {"by": "ann"}).queue is None
    turn = hands.complete(hands.claim(), want=5)
    tasks = [*turn.tasks, *hands.claim()]
    assert [(task.step_slug, awaited(task)) for task in tasks] == [("approved", [{"by": "ann"}])]


def test_a_step_that_waits_too_long_goes_on_with_nothing(hands: Hands) -> None:
    hands.define(flow("flow", signal("approved", "ok", signalTimeout=60)))
    [run] = hands.start("flow")
    hands.at("61 seconds")
    assert hands.promote().promoted == 1
    [task] = hands.claim()
    assert awaited(task) == []
    hands.send(run, "ok")  # too late for it
    hands.complete([task])
    assert hands.status(run) == "completed"


def test_a_step_that_fails_with_its_signal_keeps_it(hands: Hands) -> None:
    hands.define(flow("flow", signal("approved", "ok")))
    [run] = hands.start("flow")
    hands.send(run, "ok", 1)
    hands.fail(hands.claim())
    hands.send(run, "ok", 2)
    [task] = hands.claim()
    assert (task.attempt, awaited(task)) == (2, [1])
