"""Weak spots of a system that did this before us, W1 to W18, and that ours does not have them.

Each test fails on the implementation that comes to mind first. Those of a worker are in
tests/engine/test_w_entries.py.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from stepwell.db.children import children_of
from stepwell.db.claim import Task
from stepwell.db.commit import refused
from stepwell.db.maintain import wake_stuck
from stepwell.db.signal import signals_of
from stepwell.db.start import wake_flows
from stepwell.errors import Conflict, NoTarget
from tests.servers import DatabaseServer

from .conftest import Connect
from .explain import explained
from .hands import Hands
from .kinds import child, job, machine, says


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def shop(hands: Hands) -> Hands:
    hands.define(machine("order", "place", "ship", maxAttempts=3))
    hands.define(job("mail"))
    hands.register()
    return hands


def enqueue(hands: Hands, count: int, **options: Any) -> list[UUID]:
    inputs: list[Any] = [{}] * count
    return [row.run_id for row in hands.started("mail", inputs, **options)]


def parked(hands: Hands, key: str = "k", **options: Any) -> Task:
    run = hands.begin("order", {}, key)
    [task] = [task for task in hands.claim() if task.run_id == run]
    hands.commit([says(task, "await", step="ship", names=["paid"], handed=[], **options)])
    return task


def ids(task: Task) -> list[int]:
    return [each["id"] for each in json.loads(task.signals or "[]")]


def test_w01_a_key_never_stops_a_sweep_a_signal_or_a_batch(shop: Hands) -> None:
    """A key is taken from the start to the end of a run, so nothing comes back to a key."""
    run = parked(shop, timeout=60).run_id
    enqueue(shop, 1)
    twins = [shop.started("order", [{}], ["k"])[0] for _ in range(2)]
    assert {(row.run_id, row.created) for row in twins} == {(run, False)}
    shop.claim()
    shop.lost()
    assert shop.reclaim().requeued == 1
    shop.at("61 seconds")
    assert shop.promote().promoted == 1
    shop.send("k", "paid")
    tasks = shop.claim()
    shop.commit([says(t, "stop" if t.run_id == run else "completed", error="boom") for t in tasks])
    other = shop.begin("order", {}, "k")
    with pytest.raises(Conflict, match=str(other)):
        shop.retry(run)  # the one way back, and it is the caller's own error


def test_w02_a_late_body_cannot_write_over_a_later_step_of_the_same_worker(shop: Hands) -> None:
    shop.begin("order")
    [lost] = shop.claim()
    shop.conn.execute("update pgflow.workers set stopped_at = now()")
    assert shop.reclaim().requeued == 1
    shop.conn.execute("update pgflow.workers set stopped_at = null")  # the same worker, alive
    [again] = shop.claim()
    [later] = shop.commit([says(again, "next", step="ship", state={"n": 2})], want=1).tasks
    late = [says(lost, "next", step="place", state={"n": 0}), says(lost, "done")]
    assert shop.commit(late).stale == {lost.message_id}
    assert shop.commit([says(again, "done")]).stale == {again.message_id}
    assert shop.commit([says(later, "done")]).stale == frozenset()
    assert shop.rows("select status, state from pgflow.runs") == [("completed", {"n": 2})]


def test_w03_a_gate_is_never_over_admitted_by_sweeps_between_an_end_and_its_release(
    shop: Hands,
) -> None:
    """No counter is there to be set right: a slot is a row, and goes with its claim."""
    shop.limit("concurrency", "reports", 2)
    enqueue(shop, 20, concurrency="limit/reports/")
    held = shop.claim()
    for _ in range(10):
        held += shop.complete([held.pop(0)], want=5).tasks
        shop.reclaim()
        wake_stuck("").on_sync(shop.conn)
        held += shop.claim()
        running = shop.value("select count(*) from pgflow.step_tasks where stage = 'running'")
        assert (len(held), running, len(shop.slots())) == (2, 2, 2)


@pytest.mark.parametrize(
    "poison",
    ['{"state": "\\u0000"}', '{"state": 1, "step": "ship", "delay": 1e300}', "{", '{"state": NaN}'],
)
def test_w04_a_poisoned_outcome_writes_nothing_and_fails_alone(shop: Hands, poison: str) -> None:
    """(That a worker finds out which one it was: tests/engine/test_worker_poison.py.)"""
    good, bad = shop.begin("order"), shop.begin("order")
    tasks = {task.run_id: task for task in shop.claim()}
    done = says(tasks[good], "done")
    wrong = says(tasks[bad], "next")
    wrong = type(wrong)(wrong.message_id, wrong.token, "next", poison)
    with pytest.raises(psycopg.DataError):
        shop.commit([done, wrong])
    assert shop.rows("select distinct stage from pgflow.step_tasks") == [("running",)]
    with pytest.raises(psycopg.DataError):
        shop.commit([wrong])
    shop.commit([done, refused(wrong, "it said so")])
    assert (shop.status(good), shop.stage(bad)) == ("completed", "ready")
    assert shop.rows("select error_type from pgflow.attempts") == [("OutputRefused",)]


def test_w05_a_dedup_key_is_not_forgotten_when_its_signal_is_consumed(shop: Hands) -> None:
    parked(shop)
    assert shop.send("k", "paid", 1, "payment 7").created
    [task] = shop.claim()
    shop.commit([says(task, "next", step="place", handed=ids(task))])
    assert not shop.send("k", "paid", 1, "payment 7").created
    [task] = shop.claim()
    shop.commit([says(task, "await", step="ship", names=["paid"], handed=[])])
    assert shop.claim() == []


@pytest.mark.parametrize("payload", [None, True, 7, "text", [1, 2], [], {}], ids=json.dumps)
def test_w06_any_json_is_a_payload_and_harms_no_claim(shop: Hands, payload: Any) -> None:
    parked(shop)
    enqueue(shop, 3)
    shop.send("k", "paid", payload)
    tasks = {task.flow_slug: task for task in shop.claim()}
    assert json.loads(tasks["order"].signals or "")[0]["payload"] == payload
    assert set(tasks) == {"order", "mail"}


@pytest.mark.parametrize("limit", ["key", "rate"])
def test_w07_a_throttled_task_does_not_block_who_wants_one(shop: Hands, limit: str) -> None:
    shop.limit("rate", "slow", 1, 0.0001)
    options = {"concurrency": "key/hot"} if limit == "key" else {"rate": "slow/"}
    enqueue(shop, 1, **options)
    assert len(shop.claim(1)) == 1
    enqueue(shop, 3, **options)
    [free] = enqueue(shop, 1)
    turn = shop.commit([], want=1)
    for _ in range(5):
        if turn.tasks or not turn.contended:
            break
        turn = shop.commit([], want=1)
    assert [task.run_id for task in turn.tasks] == [free]


def test_w10_a_commit_does_not_look_at_what_else_is_running(shop: Hands) -> None:
    """The plans of all statements: test_plans.py and test_plans_machines.py."""
    inputs: list[Any] = [{}] * 2_000
    shop.started("order", inputs)
    tasks = shop.claim(2_000)
    shop.conn.execute("analyze pgflow.step_tasks, pgflow.runs")
    for batch in (tasks[:10], tasks[10:20]):
        told = explained(
            shop.conn,
            lambda batch=batch: shop.commit([says(task, "next", step="ship") for task in batch]),
        )
    looked = [scan.rows for each in told for scan in each.scans if scan.table == "step_tasks"]
    assert max(looked) <= 20


def test_w11_an_error_handler_that_waits_for_a_poisoned_signal_does_not_spin(shop: Hands) -> None:
    parked(shop)
    shop.send("k", "paid", "poison")
    [task] = shop.claim()
    said = says(
        task, "await", step="ship", names=["paid"], handed=ids(task), after_error=True, error="bad"
    )
    assert shop.commit([said], want=5).tasks == ()
    assert shop.claim() == []
    assert shop.stage(task.run_id) == "parked"
    shop.send("k", "paid", "good")
    [task] = shop.claim()
    assert len(ids(task)) == 2
    assert shop.rows("select error_message from pgflow.attempts") == [("bad",)]


def test_w11_an_error_handler_that_goes_back_to_its_step_counts_its_attempts(
    hands: Hands,
) -> None:
    hands.define(machine("order", "place", baseDelay=2, backoff="fixed"))
    hands.begin("order")
    for attempt in range(1, 4):
        [task] = hands.claim()
        assert task.attempt == attempt
        said = says(task, "next", step="place", after_error=True, error="bad")
        assert hands.commit([said], want=5).tasks == ()
        hands.at(f"{attempt * 3} seconds")
        assert hands.promote().promoted == 1


def test_w12_what_a_worker_has_no_code_for_it_never_claims(shop: Hands) -> None:
    shop.begin("order")
    enqueue(shop, 1)
    other = Hands(shop.conn, lanes=[lane for lane in shop.lanes if lane[0] == "mail"])
    other.lanes.append(("order", 12345))  # another version of it
    assert [task.flow_slug for task in other.claim()] == ["mail"]
    [task] = shop.claim()
    assert (task.attempt, task.crashes) == (1, 0)


def test_w12_what_kills_its_workers_is_given_up_after_a_while(hands: Hands) -> None:
    hands.define(machine("order", "place", maxCrashes=3))
    run = hands.begin("order")
    for crash in range(4):
        hands.register()
        [task] = hands.claim()
        assert (task.attempt, task.crashes) == (1, crash)
        hands.lost()
        hands.reclaim()
        hands.id = UUID(int=crash + 1)
        hands.at(f"{(crash + 1) * 100} seconds")
        hands.promote()
    assert hands.status(run) == "failed"
    assert "workers were lost" in hands.value("select error_message from pgflow.runs")


def test_w13_the_slots_of_a_lost_worker_are_free_with_its_claims(shop: Hands) -> None:
    enqueue(shop, 3, concurrency="key/k")
    shop.claim()
    shop.lost()
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    told = other.reclaim()
    assert (told.requeued, other.slots()) == (1, [])
    assert len(other.claim()) == 1
    other.release(other.claim())
    assert other.slots() == ["key/k"]


def test_w14_a_signal_is_never_taken_for_a_run_that_has_ended(shop: Hands) -> None:
    """(While it ends: test_interleavings_ends.py.)"""
    task = parked(shop)
    shop.send("k", "paid")
    [task] = shop.claim()
    shop.commit([says(task, "done", handed=ids(task))])
    for target in ("k", task.run_id):
        with pytest.raises(NoTarget):
            shop.send(target, "paid")
    assert shop.value("select count(*) from pgflow.signals") == 1


def test_w15_a_start_in_a_transaction_wakes_nobody_before_it_is_committed(
    shop: Hands, connect: Connect
) -> None:
    listener = connect()
    listener.execute("listen stepwell")

    def heard() -> list[str]:
        listener.execute("select 1")  # all that was said before this is here with its answer
        return [each.payload for each in listener.notifies(timeout=0)]

    with shop.conn.transaction():
        shop.begin("mail")
        wake_flows(["mail"]).on_sync(shop.conn)
        assert heard() == []
    assert heard() == ["mail"]
    with shop.conn.transaction(force_rollback=True):
        shop.begin("mail")
        wake_flows(["mail"]).on_sync(shop.conn)
    assert heard() == []


def test_w16_whatever_becomes_ready_is_told(shop: Hands) -> None:
    """A freed slot, a wake-up, a retry, a timer, a child: no poll has to find them."""
    shop.stop_clock()
    enqueue(shop, 2, concurrency="key/k")
    [task] = shop.claim()
    assert shop.claim() == []
    assert shop.complete([task]).ready == ("mail",)  # the slot
    [task] = shop.claim()
    assert shop.commit([says(task, "failed", error="boom")]).ready == ("mail",)  # the retry
    assert shop.commit([says(shop.claim()[0], "failed", error="x", delay=5)]).ready == ("mail",)
    due = shop.promote().next_due
    assert due is not None and 4 < due <= 5
    shop.at("6 seconds")
    assert shop.promote().queues == ["mail"]  # the timer
    shop.drain()
    parked(shop)
    assert shop.send("k", "paid").queue == "order"  # the signal
    [task] = shop.claim()
    turn = shop.commit([says(task, "spawn", step="ship", children=[child("mail")])])
    assert turn.ready == ("mail",)  # the child
    assert shop.complete(shop.claim()).ready == ("order",)  # and the parent
    enqueue(shop, 2, concurrency="key/k")
    shop.claim()
    shop.lost()
    assert "mail" in shop.reclaim().queues


def test_w18_a_step_is_given_what_it_waits_for_and_may_read_the_rest_in_part(shop: Hands) -> None:
    task = parked(shop)
    shop.conn.execute(
        "insert into pgflow.signals (run_id, name, payload)"
        " select %s, case when n %% 2 = 0 then 'paid' else 'noise' end, to_jsonb(n)"
        " from generate_series(1, 5000) n",
        (task.run_id,),
    )
    shop.send("k", "paid")
    [task] = shop.claim()
    assert len(ids(task)) == 1000
    assert len(signals_of(task.run_id, 7).on_sync(shop.conn)) == 7
    kids = [child("mail") for _ in range(50)]
    shop.commit([says(task, "spawn", step="ship", children=kids, handed=ids(task))])
    turn = shop.complete(shop.claim(), want=5)
    assert json.loads(turn.tasks[0].children or "") == {
        "total": 50,
        "pending": 0,
        "completed": 50,
        "failed": 0,
        "policy": "wait",
    }
    assert turn.tasks[0].signals is None
    assert len(children_of(task.run_id, 7).on_sync(shop.conn)) == 7
