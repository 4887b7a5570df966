"""Two hands at slots, in every order that a lock can force."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from stepwell.db.steer import pause_run

from .hands import Hands
from .invariants import broken
from .kinds import says
from .pairs import Pair
from .pairs import pair as pair
from .pairs import server as server
from .waiting import held_up, transaction, waits_for_none


def mails(hands: Hands, count: int, gate: str = "key/k") -> list[UUID]:
    inputs: list[Any] = [{}] * count
    return [row.run_id for row in hands.started("mail", inputs, concurrency=gate)]


def test_of_two_claims_of_one_key_one_gets_it_and_the_other_looks_on(pair: Pair) -> None:
    one, two = pair
    ids = mails(one, 2)
    with transaction(one.conn):
        [first] = one.claim()
        assert (first.run_id, one.stage(ids[1])) == (ids[0], "blocked")
        assert waits_for_none(two.claim, two.conn) == []
    assert two.claim() == []
    [second] = one.complete([first], want=1).tasks
    assert second.run_id == ids[1]


def test_of_two_claims_that_race_for_a_key_in_different_lanes_one_gets_it(pair: Pair) -> None:
    """Neither sees the other's slot before it is committed: the second waits, and is told no."""
    one, two = pair
    mails(one, 1)
    one.begin("order", concurrency="key/k")
    a = Hands(one.conn, id=one.id, lanes=[lane for lane in one.lanes if lane[0] == "mail"])
    b = Hands(two.conn, id=two.id, lanes=[lane for lane in one.lanes if lane[0] == "order"])
    with transaction(one.conn):
        [first] = a.claim()
        later = held_up(lambda: b.commit([], want=5), two.conn, one.conn)
    assert later.result(30).tasks == ()
    turn = a.complete([first])
    following = b.claim()
    assert len(following) == 1 and "order" in (*turn.ready, *later.result().ready, "order")
    b.commit([says(following[0], "done")])


def test_a_claim_that_blocks_holds_up_who_frees_the_slot_until_it_can_be_seen(pair: Pair) -> None:
    one, two = pair
    ids = mails(one, 1)
    [task] = one.claim()
    ids += mails(one, 1)
    with transaction(two.conn):
        assert two.claim() == []
        assert two.stage(ids[1]) == "blocked"
        later = held_up(lambda: one.complete([task], want=1), one.conn, two.conn)
    assert [task.run_id for task in later.result(30).tasks] == [ids[1]]


def test_who_is_locked_when_its_slot_is_freed_is_woken_by_a_later_turn(pair: Pair) -> None:
    """As a claim leaves it that met the task when it was ready, and found it blocked when it had
    the lock: it goes on without the task, and keeps the lock."""
    one, two = pair
    one.stop_clock()  # what is owed counts for a second
    ids = mails(one, 1)
    [held] = one.claim()
    ids += mails(one, 1)
    meet = (
        "select message_id from pgflow.step_tasks"
        " where stage = 'ready' and pg_advisory_xact_lock(1) is not null for update skip locked"
    )
    with transaction(two.conn):
        with transaction(one.conn):
            one.conn.execute("select pg_advisory_xact_lock(1)")
            claim = held_up(lambda: two.rows(meet), two.conn, one.conn)
            with psycopg.connect(one.conn.info.dsn, autocommit=True) as third:
                assert Hands(third, lanes=one.lanes).claim() == []  # which blocks it
        assert claim.result(30) == []
        turn = one.complete([held], want=1)
        assert (turn.tasks, turn.contended) == ((), True)
        assert one.stage(ids[1]) == "blocked"
        assert broken(one.conn) == []  # owed
        assert one.commit([], want=1).contended
        one.at("2 seconds")
        assert not one.commit([], want=1).contended
    turn = one.commit([], want=1)
    assert [task.run_id for task in turn.tasks] == [ids[1]]
    assert not one.commit([], want=1).contended
    assert one.rows("select from pgflow.owed_wakes") == []


def test_a_claim_does_not_block_on_a_slot_that_is_being_freed(pair: Pair) -> None:
    """It would not be woken: it stays ready, and the claim says to look again."""
    one, two = pair
    ids = mails(one, 1)
    [task] = one.claim()
    ids += mails(one, 1)
    with transaction(one.conn):
        one.complete([task])
        turn = waits_for_none(lambda: two.commit([], want=1), two.conn)
        assert (turn.tasks, turn.contended) == ((), True)
    assert two.stage(ids[1]) == "ready"
    assert [task.run_id for task in two.claim()] == [ids[1]]


def test_two_that_free_slots_of_one_gate_wake_two(pair: Pair) -> None:
    one, two = pair
    one.limit("concurrency", "reports", 2)
    mails(one, 6, "limit/reports/")
    [first, second] = one.claim()
    with transaction(one.conn):
        one.complete([first])
        two.complete([second])
    assert len(two.claim()) == 2
    assert len(two.slots()) == 2


def test_a_cancelled_task_that_was_next_leaves_its_turn_to_the_one_behind(pair: Pair) -> None:
    one, two = pair
    ids = mails(one, 3)
    [task] = one.claim()
    with transaction(two.conn):
        two.cancel(ids[1])
        turn = waits_for_none(lambda: one.complete([task], want=1), one.conn)
    tasks = turn.tasks or tuple(one.claim())
    assert [task.run_id for task in tasks] == [ids[2]]


@pytest.mark.parametrize("how", ["cancel", "pause"])
def test_who_is_taken_away_while_a_wake_up_is_on_its_way_passes_it_on(pair: Pair, how: str) -> None:
    one, two = pair
    ids = mails(one, 3)
    [task] = one.claim()

    def take_away() -> Any:
        return two.cancel(ids[1]) if how == "cancel" else pause_run(ids[1]).on_sync(two.conn)

    with transaction(one.conn):
        one.complete([task])  # which wakes the next
        later = held_up(take_away, two.conn, one.conn)
    later.result(30)
    assert [task.run_id for task in one.claim()] == [ids[2]]
