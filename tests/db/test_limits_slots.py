"""A slot belongs to a claim, and goes with it."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.db.commit import released

from .gates import enqueue, one_by_one, runs
from .gates import server as server
from .gates import shop as shop
from .hands import Hands
from .kinds import child, machine, says


def test_a_lost_worker_leaves_no_slot(shop: Hands) -> None:
    [first, second] = enqueue(shop, 2, "key/k")
    shop.claim()
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    other.claim()
    shop.lost()
    assert "mail" in other.reclaim().queues
    tasks = other.claim()
    assert len(tasks) == 1 and tasks[0].run_id in (first, second)
    [following] = other.complete(tasks, want=1).tasks
    other.complete([following])
    assert other.slots() == []


def test_a_worker_that_leaves_and_one_that_gives_back_leave_no_slot(shop: Hands) -> None:
    enqueue(shop, 2, "key/k")
    shop.release(shop.claim())
    assert shop.slots() == []
    assert len(shop.claim()) == 1
    shop.leave()
    assert shop.slots() == []
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    assert one_by_one(other) == [1, 1]


@pytest.mark.parametrize("outcome", ["completed", "failed", "released"])
def test_a_cancelled_body_keeps_its_slot_until_it_has_ended(shop: Hands, outcome: str) -> None:
    ids = enqueue(shop, 2, "key/k")
    [task] = shop.claim()
    assert shop.cancel(ids[0])
    assert (shop.claim(), shop.slots()) == ([], ["key/k"])
    shop.reclaim()
    assert shop.slots() == ["key/k"]
    entry = (
        released(task.message_id, task.claim_token)
        if outcome == "released"
        else says(task, outcome, error="late" if outcome == "failed" else None)
    )
    turn = shop.commit([entry], want=1)
    assert turn.stale == {task.message_id}
    assert runs(turn.tasks) == [ids[1]]
    assert shop.status(ids[0]) == "cancelled"


def test_a_cancelled_body_of_a_lost_worker_has_ended(shop: Hands) -> None:
    ids = enqueue(shop, 2, "key/k")
    shop.claim()
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    assert other.claim() == []
    shop.cancel(ids[0])
    shop.lost()
    assert other.reclaim().queues == ["mail"]
    assert runs(other.claim()) == [ids[1]]


def test_a_task_past_its_timeout_keeps_its_slot_until_its_worker_says_that_it_ended(
    shop: Hands,
) -> None:
    """The sweep fails the attempt; the body may run on, so the next attempt waits for it."""
    [run] = enqueue(shop, 1, "key/k")
    [task] = shop.claim()
    shop.at("5 minutes")
    shop.beat()
    assert shop.reclaim().failed == 1
    assert shop.slots() == ["key/k"]
    shop.promote()
    assert shop.claim() == []
    turn = shop.commit([says(task, "completed")], want=1)  # late, and the slot is free
    assert turn.stale == {task.message_id}
    assert runs(turn.tasks) == [run] and turn.tasks[0].attempt == 2


@pytest.mark.parametrize(
    "word", ["failed", "snooze", "cancelled", "failed_permanently", "completed"]
)
def test_every_outcome_frees_its_slot(shop: Hands, word: str) -> None:
    ids = enqueue(shop, 2, "key/k")
    [task] = shop.claim()
    more: dict[str, Any] = {
        "snooze": {"delay": 60},
        "failed": {"delay": 60, "error": "boom"},
        "failed_permanently": {"error": "boom"},
    }.get(word, {})
    turn = shop.commit([says(task, word, **more)], want=1)
    assert runs(turn.tasks) == [ids[1]]


@pytest.mark.parametrize("word", ["await", "spawn", "done", "stop", "retry"])
def test_a_machine_that_waits_holds_no_slot(shop: Hands, word: str) -> None:
    shop.define(machine("order", "place"))
    waits = enqueue(shop, 2, "key/k", "order")
    [task] = shop.claim()
    more = {"names": ["x"], "children": [child("print")], "step": "place", "delay": 60}
    turn = shop.commit([says(task, word, **more)], want=5)
    assert waits[1] in runs(turn.tasks)
