"""Why a run is not moving: each state of a run has its reason, and the reason is true."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell.db.claim import Task
from stepwell.db.explain import Reason, explain_run
from stepwell.db.presence import serve_lanes
from stepwell.db.steer import (
    pause_flow,
    pause_queue,
    pause_run,
    resume_flow,
    resume_queue,
    resume_run,
)
from stepwell.db.workers import drain_workers
from stepwell.errors import NotFound
from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .shapes import chain, flow, single, spread, step

START = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def reasons(hands: Hands, run_id: UUID) -> list[Reason]:
    return explain_run(run_id).on_sync(hands.conn)


def words(hands: Hands, run_id: UUID) -> list[tuple[str, str]]:
    return [(each.reason, each.state) for each in reasons(hands, run_id)]


def only(hands: Hands, run_id: UUID) -> Reason:
    [reason] = reasons(hands, run_id)
    return reason


def at(hands: Hands, seconds: float) -> None:
    """Time stands still, so that a slow machine tells the same."""
    moment = START + timedelta(seconds=seconds)
    hands.conn.execute("select set_config('pgflow.now', %s, false)", (moment.isoformat(),))


def tell(hands: Hands, concurrency: int = 10) -> None:
    """What a worker of ours tells of itself."""
    queues, versions = [q for q, _ in hands.lanes], [v for _, v in hands.lanes]
    call = serve_lanes(hands.id, queues, queues, versions, concurrency, datetime.now(UTC))
    call.on_sync(hands.conn)


@pytest.fixture
def fleet(hands: Hands) -> Hands:
    at(hands, 0)
    hands.define(single("orders"))
    hands.register(lease=15)
    tell(hands)
    return hands


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
