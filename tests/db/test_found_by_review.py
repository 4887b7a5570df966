"""What a review broke before it was written down; each in the order of events that did it."""

from __future__ import annotations

import pytest

from stepwell.db.steer import retry_run
from tests.servers import DatabaseServer

from .conftest import Connect
from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .shapes import flow, step
from .waiting import held_up, transaction


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def shop(hands: Hands) -> Hands:
    hands.define(machine("order", "place", "ship", maxAttempts=3))
    hands.define(job("mail", maxAttempts=3))
    hands.register()
    return hands


@pytest.mark.parametrize("word", ["done", "next", "spawn", "failed_permanently"])
def test_a_claim_that_a_sweep_takes_back_during_the_commit_leaves_nothing_of_its_outcome(
    shop: Hands, connect: Connect, word: str
) -> None:
    """The sweep has the task and not the run: the commit has judged when it comes to the task."""
    run = shop.begin("order", {"n": 0}, "k")
    [task] = shop.claim()
    signal = shop.send("k", "paid").signal_id
    said = {"step": "ship", "children": [child("mail")], "handed": [signal]}
    entry = (
        says(task, word, error="boom")
        if word == "failed_permanently"
        else says(task, word, result=1, **{**said, "state": {"n": 1}})
    )
    sweeper = Hands(connect(), lanes=shop.lanes)
    with transaction(sweeper.conn):
        shop.lost()
        assert sweeper.reclaim().requeued == 1
        turn = held_up(lambda: shop.commit([entry]), shop.conn, sweeper.conn)
    assert turn.result(30).stale == {task.message_id}
    assert shop.status(run) == "started"
    assert shop.value("select state from pgflow.runs where run_id = %s", run) == {"n": 0}
    assert shop.value("select count(*) from pgflow.runs") == 1
    assert shop.value("select consumed_at from pgflow.signals") is None
    assert [again.input for again in sweeper.claim()] == ['{"n": 0}']


def test_a_retry_that_fails_again_at_once_ends_for_its_key_and_its_parent(shop: Hands) -> None:
    shape = flow("picky", step("only", required={"ok": True}, unmet="fail"))
    shop.define(shape)
    shop.begin("order", {}, "k")
    [parent] = shop.claim()
    kids = [child("picky", {"ok": False}, key="kid"), child("mail")]
    shop.commit([says(parent, "spawn", step="ship", children=kids)])
    assert not retry_run(id_of(kids[0])).on_sync(shop.conn)[0].done or (
        shop.status(id_of(kids[0])) == "failed"
    )
    shop.complete(shop.claim())
    [joined] = shop.claim()
    assert joined.step_slug == "ship"
    assert shop.started("picky", [{"ok": False}], ["kid"])[0].created


def test_two_claims_of_a_gate_with_several_slots_block_nobody_while_one_is_free(
    shop: Hands, connect: Connect
) -> None:
    shop.limit("concurrency", "five", 5)
    for _ in range(2):
        shop.begin("mail", {}, concurrency="limit/five/")
    two = Hands(connect(), lanes=shop.lanes)
    two.register()
    with transaction(shop.conn):
        assert len(shop.claim(1)) == 1
        late = held_up(lambda: two.commit([], want=1), two.conn, shop.conn)
    turn = late.result(30)
    assert turn.tasks or turn.contended
    assert shop.value("select count(*) from pgflow.step_tasks where stage = 'blocked'") == 0
    assert len(turn.tasks) + len(two.claim()) == 1


def test_a_run_with_a_fairness_key_is_found_in_the_queue_that_it_moves_to(shop: Hands) -> None:
    shop.begin("order", {}, fairness="tenant")
    [task] = shop.claim()
    shop.commit([says(task, "next", step="ship", queue="other", handed=[])])
    version = dict(shop.lanes)["order"]
    assert [found.step_slug for found in Hands(shop.conn, shop.id, [("other", version)]).claim()]


def test_a_set_of_signals_is_handed_over_however_many_there_are_of_one_name(shop: Hands) -> None:
    shop.begin("order", {}, "k")
    [task] = shop.claim()
    shop.commit([says(task, "await", step="ship", names=["a", "b"], all=True, handed=[])])
    for _ in range(1001):
        shop.send("k", "a")
    assert shop.claim() == []
    shop.send("k", "b")
    [task] = shop.claim()
    assert '"name": "b"' in (task.signals or "")


def test_fairness_counts_what_ran_and_not_what_waits_for_a_slot(shop: Hands) -> None:
    shop.begin("mail", {}, concurrency="key/busy")
    assert len(shop.claim()) == 1
    for _ in range(200):
        shop.begin("mail", {}, concurrency="key/busy", fairness="X")
        shop.begin("mail", {}, fairness="Y")
    shop.claim(10)
    for _ in range(10):
        shop.begin("mail", {}, fairness="X")
    ids = [task.message_id for task in shop.claim(20)]
    query = (
        "select count(*) from pgflow.step_tasks where fairness_key = 'X' and message_id = any(%s)"
    )
    assert shop.value(query, ids) >= 9


def test_one_held_run_keeps_no_other_lost_task_from_going_on(shop: Hands, connect: Connect) -> None:
    shop.begin("order", {}, "held")
    shop.begin("mail", {})
    shop.claim()
    shop.conn.execute("update pgflow.flows set opt_max_crashes = 0 where flow_slug = 'order'")
    shop.lost()
    other = Hands(connect(), lanes=shop.lanes)
    with transaction(other.conn):
        other.send("held", "paid")
        assert shop.reclaim().requeued == 1
    assert shop.reclaim().failed == 1


def test_a_step_that_stops_leaves_its_signals_to_a_retry(shop: Hands) -> None:
    run = shop.begin("order", {}, "k")
    [task] = shop.claim()
    shop.commit([says(task, "await", step="ship", names=["paid"], handed=[])])
    signal = shop.send("k", "paid").signal_id
    [task] = shop.claim()
    shop.commit([says(task, "stop", handed=[signal], error="gateway down")])
    assert shop.retry(run)
    [again] = shop.claim()
    assert f'"id": {signal}' in (again.signals or "")
