"""What explain says of ready tasks is what the next claims do."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from stepwell.db.claim import Task
from stepwell.db.steer import (
    pause_flow,
    pause_queue,
    pause_run,
    resume_flow,
    resume_queue,
    resume_run,
)

from .hands import Hands
from .kinds import job
from .reasons import at, only, reasons, tell, words
from .reasons import fleet as fleet
from .reasons import server as server
from .shapes import single


def test_what_is_ready_is_what_the_next_claim_takes(fleet: Hands) -> None:
    first, second, third = (fleet.begin("orders") for _ in range(3))
    assert [only(fleet, run).facts["before"] for run in (first, second, third)] == [0, 1, 2]
    assert words(fleet, third) == [("in_line", "moving")]
    for run in (first, second, third):
        told = only(fleet, run)
        assert (told.reason == "ready") == (told.facts["before"] == 0)
        [task] = fleet.claim(1)
        assert task.run_id == run
        assert words(fleet, run) == [("running", "moving")]


def test_what_free_hands_do_not_take_is_told_from_what_they_are_about_to(fleet: Hands) -> None:
    run = fleet.begin("orders")
    fleet.beat()
    at(fleet, 30)
    fleet.beat()
    told = only(fleet, run)
    assert (told.reason, told.state) == ("not_taken", "moving")
    assert "and hands, with free hands, did not take it on" in told.message


def test_full_hands_are_a_reason(fleet: Hands) -> None:
    tell(fleet, concurrency=2)
    *_, third = [fleet.begin("orders") for _ in range(3)]
    fleet.claim(2)
    busy = only(fleet, third)
    assert (busy.reason, busy.state) == ("workers_busy", "moving")
    assert busy.message == "step s0: hands, which serves queue orders, has its hands full"


def test_hands_are_counted_of_whoever_serves_that_lane(hands: Hands) -> None:
    at(hands, 0)
    hands.define(single("orders", queue="here, there"))
    hands.register(lease=15)
    tell(hands, concurrency=1)
    *_, second = [hands.begin("orders") for _ in range(2)]
    hands.claim(1)
    assert "hands, which serves queue here, there, has" in only(hands, second).message
    plain = hands.define(single("plain"))
    tell(hands, concurrency=1)
    run = hands.begin("plain")
    assert words(hands, run) == [("workers_busy", "moving")]
    Hands(hands.conn, lanes=[("plain", plain)]).register(lease=15)  # how much it can do is unknown
    assert words(hands, run) == [("ready", "moving")]
    assert words(hands, second) == [("workers_busy", "moving")]


@pytest.mark.parametrize("seed", range(3))
def test_what_explain_says_is_what_a_claim_does(fleet: Hands, seed: int) -> None:
    """After each of many things that happen: what waits or is stuck is not claimed, and when
    something is said to be ready something is."""
    dice = random.Random(seed)
    fleet.define(job("mail"))
    fleet.limit("concurrency", "api", 2)
    tell(fleet)
    live: list[UUID] = []
    held: list[Task] = []
    seen: set[str] = set()
    for _ in range(40):
        happens(fleet, dice, live, held)
        told = {run: {each.reason for each in reasons(fleet, run)} for run in live}
        with fleet.conn.transaction(force_rollback=True):
            taken = {task.run_id for task in fleet.claim(1)}
        for run in taken:
            assert told[run] <= {"ready", "in_line"}, (seed, told[run])
        if any(said == {"ready"} for said in told.values()):
            assert taken, (seed, told)
        seen |= {reason for said in told.values() for reason in said}
    assert len(seen) > 4, seen


def happens(fleet: Hands, dice: random.Random, live: list[UUID], held: list[Task]) -> None:
    gate = dice.choice(["key/a", "limit/api/x", None])
    options = {"concurrency": gate} if gate else {}
    match dice.randrange(8):
        case 0 | 1 | 2:
            live.append(fleet.begin("mail", priority=dice.randrange(3), **options))
        case 3:
            live.append(fleet.begin("orders", delay=dice.choice([0, 3600])))
        case 4 | 5 if not held or dice.random() < 0.6:
            held.extend(fleet.claim(1))
        case 4 | 5:
            task = held.pop()
            fleet.complete([task])
            live.remove(task.run_id)
        case 6:
            pauses(fleet, dice.choice(["mail", "orders"]), dice)
        case _:
            if live:
                pauses_run(fleet, dice.choice(live))


def pauses(fleet: Hands, lane: str, dice: random.Random) -> None:
    (dice.choice([pause_queue, pause_flow]))(lane, None).on_sync(fleet.conn)
    if dice.random() < 0.7:
        resume_queue(lane, None).on_sync(fleet.conn)
        resume_flow(lane, None).on_sync(fleet.conn)


def pauses_run(fleet: Hands, run: UUID) -> None:
    if not pause_run(run, None).on_sync(fleet.conn)[0].done:
        resume_run(run, None).on_sync(fleet.conn)
