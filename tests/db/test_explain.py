"""Why a run is not moving: each state of a run has its reason."""

from __future__ import annotations

from uuid import uuid4

import psycopg
import pytest

from stepwell.db.steer import (
    pause_flow,
    pause_queue,
    pause_run,
    resume_flow,
    resume_queue,
)
from stepwell.db.workers import drain_workers
from stepwell.errors import NotFound

from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .reasons import at, only, reasons, tell, words
from .reasons import fleet as fleet
from .reasons import server as server
from .shapes import chain, flow, single, spread, step


def test_no_run_no_reason(hands: Hands) -> None:
    with pytest.raises(NotFound, match="no run"):
        reasons(hands, uuid4())


def test_who_would_take_it_on_is_told_exactly(hands: Hands) -> None:
    at(hands, 0)
    hands.define(single("orders", queue="shop"))
    run = hands.begin("orders")
    assert words(hands, run) == [("no_worker", "stuck")]
    hands.register(lease=15)
    assert words(hands, run) == [("ready", "moving")]  # as far as one knows who said nothing
    tell(hands)
    assert words(hands, run) == [("ready", "moving")]
    at(hands, 10)  # the lease is good for a while
    assert words(hands, run) == [("ready", "moving")]
    at(hands, 40)
    silent = only(hands, run)
    assert (silent.reason, silent.state) == ("workers_silent", "stuck")
    assert "who serves queue shop was not heard of for 40" in silent.message
    at(hands, 0)
    drain_workers([hands.id], None).on_sync(hands.conn)
    assert words(hands, run) == [("workers_drain", "stuck")]
    other = Hands(hands.conn)
    other.define(single("mails"))
    other.register(lease=15)
    hands.leave()
    elsewhere = only(hands, run)
    assert elsewhere.reason == "queue_not_served"
    assert elsewhere.message == (
        "step s0: no worker serves queue shop; those that are there serve others: hands"
    )
    assert "queue shop" in (elsewhere.remedy or "")


def test_a_version_whose_code_nobody_has_is_told_from_a_queue_that_nobody_serves(
    fleet: Hands,
) -> None:
    old = fleet.begin("orders")
    assert words(fleet, old) == [("ready", "moving")]
    fleet.lanes.clear()
    fleet.define(chain("orders", 2))
    tell(fleet)
    reason = only(fleet, old)
    assert (reason.reason, reason.state) == ("no_code", "stuck")
    assert "no worker has the code of version 1 of orders" in reason.message
    assert fleet.claim() == []
    assert words(fleet, fleet.begin("orders")) == [("ready", "moving")]


def test_who_runs_it_is_named_with_how_they_are(fleet: Hands) -> None:
    run = fleet.begin("orders")
    fleet.claim()
    told = only(fleet, run)
    assert told.message.startswith("step s0 runs on hands (pid 1 on here) for ")
    assert told.message.endswith(", attempt 1 of 3")
    assert told.until is not None and told.since is not None
    assert (told.until - told.since).total_seconds() == 60
    at(fleet, 20)
    assert words(fleet, run) == [("worker_silent", "stuck")]  # nobody else is there
    at(fleet, 70)
    fleet.beat()
    assert words(fleet, run) == [("overdue", "moving")]
    other = Hands(fleet.conn, lanes=list(fleet.lanes))
    other.register(lease=15)
    fleet.lost()
    gone = only(fleet, run)
    assert (gone.reason, gone.state, gone.remedy) == ("worker_lost", "moving", None)
    other.lost()
    assert words(fleet, run) == [("worker_lost", "stuck")]
    fleet.conn.execute("update pgflow.workers set stopped_at = null, lease = null")
    at(fleet, 20)
    fleet.beat()
    assert words(fleet, run) == [("foreign_worker", "moving")]


def test_what_was_paused_says_what_and_why(fleet: Hands) -> None:
    run = fleet.begin("orders")
    pause_queue("orders", "ann", "the bank is down").on_sync(fleet.conn)
    at(fleet, 1)
    pause_flow("orders", "ann", None).on_sync(fleet.conn)
    assert words(fleet, run) == [("queue_paused", "waiting"), ("flow_paused", "waiting")]
    [queue, paused] = reasons(fleet, run)
    assert "queue orders was paused" in queue.message and "(the bank is down)" in queue.message
    assert queue.remedy == "stepwell queues resume orders"
    assert paused.remedy == "stepwell flows resume orders"
    assert fleet.claim() == []
    resume_queue("orders", None).on_sync(fleet.conn)
    resume_flow("orders", None).on_sync(fleet.conn)
    assert words(fleet, run) == [("ready", "moving")]
    pause_run(run, "bob").on_sync(fleet.conn)
    told = only(fleet, run)
    assert (told.reason, told.remedy) == ("run_paused", f"stepwell runs resume {run}")
    assert "by bob" in told.message


def test_retries_delays_and_lost_workers_say_when(fleet: Hands) -> None:
    fleet.define(single("calls", baseDelay=60))
    tell(fleet)
    run = fleet.begin("calls")
    fleet.fail(fleet.claim(), "no answer")
    told = only(fleet, run)
    assert (told.reason, told.state) == ("retrying", "moving")
    assert "attempt 2 of 3. Last error: ValueError: no answer" in told.message
    later = fleet.begin("calls", delay=3600)
    assert only(fleet, later).reason == "not_due"
    assert " is not due for 1 h 0 min" in only(fleet, later).message
    at(fleet, 7200)
    assert {each.reason for each in reasons(fleet, later)} == {
        "timers_stand_still",
        "workers_silent",
    }
    assert all(each.state == "stuck" for each in reasons(fleet, later))


def test_a_task_that_lost_two_workers_says_so(fleet: Hands) -> None:
    run = fleet.begin("orders")
    for _ in range(2):
        worker = Hands(fleet.conn, lanes=list(fleet.lanes))
        worker.register(lease=15)
        assert worker.claim()
        worker.lost()
        fleet.reclaim()
    assert words(fleet, run) == [("after_lost_worker", "moving")]


def test_a_limit_names_who_has_its_slots(fleet: Hands) -> None:
    fleet.define(job("mail"))
    tell(fleet)
    first, second = (fleet.begin("mail", concurrency="key/acct:7") for _ in range(2))
    assert words(fleet, second) == [("in_line", "moving")]
    [task] = fleet.claim(1)
    for _ in range(2):  # before and after a claim met the full gate
        full = only(fleet, second)
        assert (full.reason, full.state) == ("limit_full", "waiting")
        assert "the job waits for concurrency key acct:7, which lets 1 run at once" in full.message
        assert f"run {first} (mail, step perform) on hands for " in full.message
        assert full.remedy == f"stepwell runs explain {first}"
        assert full.facts["holders"][0]["run_id"] == str(first)
        assert fleet.claim() == []
    assert fleet.stage(second) == "blocked"
    fleet.complete([task])
    assert words(fleet, second) == [("ready", "moving")]


def test_caps_of_queues_and_flows_are_limits_too(fleet: Hands) -> None:
    fleet.limit("queue", "orders", 1)
    first, second = fleet.begin("orders"), fleet.begin("orders")
    fleet.claim(1)
    full = only(fleet, second)
    assert full.reason == "limit_full"
    assert "waits for the limit of queue orders, which lets 1 run" in full.message
    assert str(first) in full.message


def test_a_rate_says_when_the_turn_comes(fleet: Hands) -> None:
    fleet.limit("rate", "bank", 1, 0.01)
    fleet.define(job("pay"))
    tell(fleet)
    _, second = (fleet.begin("pay", rate="bank/", weight=1.0) for _ in range(2))
    assert len(fleet.claim()) == 1
    told = only(fleet, second)
    assert (told.reason, told.state) == ("rate_limited", "moving")
    assert "the job has its turn of rate limit bank (0.01 a second) in 1 min 40 s" in told.message


def test_signals_and_children_are_named(fleet: Hands) -> None:
    fleet.define(machine("order", "begin", "end"))
    fleet.define(job("mail"))
    tell(fleet)
    run = fleet.begin("order")
    [task] = fleet.claim()
    fleet.commit([says(task, "await", step="end", names=["it's paid", "x"], timeout=3600)])
    told = only(fleet, run)
    assert (told.reason, told.state) == ("waits_for_signal", "waiting")
    assert "step end waits for one of the signals it's paid, x, for " in told.message
    assert told.remedy == f"stepwell signal {run} 'it'\\''s paid'"
    assert told.until is not None
    fleet.send(run, "x")
    [task] = fleet.claim()
    children = [child("mail"), child("mail")]
    fleet.commit([says(task, "spawn", step="begin", children=children, policy="wait")])
    told = only(fleet, run)
    assert (told.reason, told.state) == ("waits_for_children", "waiting")
    assert "step begin waits for 2 of 2 children" in told.message
    assert told.remedy == f"stepwell runs explain {min(map(id_of, children))}"


def test_steps_of_a_map_are_told_together(fleet: Hands) -> None:
    fleet.define(spread("wide"))
    tell(fleet)
    run = fleet.begin("wide")
    fleet.complete(fleet.claim(), [1, 2, 3, 4])
    fleet.fail(fleet.claim(1), permanent=False)
    fleet.claim(1)
    told = {each.reason: each for each in reasons(fleet, run)}
    assert told["running"].tasks == 1
    assert told["ready"].tasks == 3
    assert told["ready"].message.startswith("3 tasks of step each: ")


def test_a_wide_map_with_a_limit_for_each_element_is_told_in_short(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        hands.define(spread("wide"))
        hands.register(lease=3600)
        run = hands.begin("wide")
        hands.complete(hands.claim(), list(range(60)))
        conn.execute(
            "update pgflow.step_tasks set stage = 'blocked',"
            " concurrency_key = 'key/' || task_index, blocked_on = 'key/' || task_index"
            " where stage = 'ready'"
        )
        conn.execute(
            "insert into pgflow.slots select 'key/' || n, 1, n, n, %s"
            " from generate_series(0, 59) n",
            (hands.id,),
        )
        assert words(hands, run) == [("limit_full", "waiting")] * 20


def test_an_end_is_a_reason(fleet: Hands) -> None:
    fleet.define(flow("sad", step("cry", maxAttempts=1)))
    run, done, stopped = fleet.begin("sad"), fleet.begin("orders"), fleet.begin("orders")
    fleet.cancel(stopped)
    for task in fleet.claim():
        fleet.fail([task], "why") if task.run_id == run else fleet.complete([task])
    ended = {only(fleet, each).reason: only(fleet, each) for each in (run, done, stopped)}
    assert {each.state for each in ended.values()} == {"ended"}
    assert ended["failed"].message.endswith(" ago at step cry: why")
    assert f"stepwell runs retry {run}" in (ended["failed"].remedy or "")
    assert ended["completed"].remedy is None
    assert set(ended) == {"failed", "completed", "cancelled"}


def test_rows_that_somebody_changed_are_told_from_waits(dsn: str) -> None:
    """Not with the hands of a fixture, which would find the broken rules too."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        hands.define(spread("wide"))
        hands.register(lease=15)
        run = hands.begin("wide")
        hands.complete(hands.claim(), [1, 2])
        conn.execute("update pgflow.step_tasks set input = null where stage = 'ready'")
        assert ("missing_input", "stuck") in words(hands, run)
        conn.execute("update pgflow.step_tasks set step_slug = 'gone' where stage = 'ready'")
        assert words(hands, run)[0] == ("missing_step", "stuck")
        conn.execute("delete from pgflow.step_tasks")
        assert words(hands, run) == [("nothing_is_open", "stuck")]
