"""Two hands at the end of a machine, in every order that a lock can force."""

from __future__ import annotations

from uuid import UUID

import pytest

from stepwell.errors import NoTarget

from .kinds import child, says
from .pairs import Pair, running
from .pairs import pair as pair
from .pairs import server as server
from .waiting import held_up, transaction


@pytest.mark.parametrize("word", ["done", "stop", "failed"])
def test_a_signal_that_waited_for_the_end_of_its_run_has_no_target(pair: Pair, word: str) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, word, error=None if word == "done" else "boom")])
        by_key = held_up(lambda: two.send("k", "paid"), two.conn, one.conn)
    with pytest.raises(NoTarget):
        by_key.result(30)
    with pytest.raises(NoTarget):
        two.send(task.run_id, "paid")
    assert one.rows("select * from pgflow.signals") == []


def test_an_end_that_waited_for_a_signal_ends_with_it_in_the_inbox(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(two.conn):
        sent = two.send("k", "paid")
        later = held_up(lambda: one.commit([says(task, "done")]), one.conn, two.conn)
    assert (sent.created, later.result(30).stale) == (True, frozenset())
    assert one.rows("select name, consumed_at from pgflow.signals") == [("paid", None)]


def test_a_signal_whose_key_passed_on_while_it_waited_goes_to_who_has_it_now(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, "done")])
        following = one.begin("order", {}, "k")
        later = held_up(lambda: two.send("k", "paid"), two.conn, one.conn)
    assert later.result(30).run_id == following


def test_a_start_with_a_signal_that_waited_for_an_end_makes_a_run_of_its_own(pair: Pair) -> None:
    one, two = pair
    task = running(one)

    def start_and_send() -> tuple[bool, UUID]:
        with two.conn.transaction():
            [row] = two.started("order", [{}], ["k"])
            return row.created, two.send(row.run_id, "paid").run_id

    with transaction(one.conn):
        one.commit([says(task, "done")])
        later = held_up(start_and_send, two.conn, one.conn)
    created, run = later.result(30)
    assert created and run != task.run_id


def test_an_end_waits_for_a_start_with_a_signal_that_found_its_run(pair: Pair) -> None:
    """What was sent to a live run is in its inbox, also when it ends right after."""
    one, two = pair
    task = running(one)
    with transaction(two.conn):
        [row] = two.started("order", [{}], ["k"])
        assert not row.created
        two.send(row.run_id, "paid")
        later = held_up(lambda: one.commit([says(task, "done")]), one.conn, two.conn)
    assert later.result(30).stale == frozenset()
    assert one.value("select count(*) from pgflow.signals") == 1


@pytest.mark.parametrize("word", ["next", "await", "spawn", "done", "retry"])
def test_an_outcome_that_waited_for_a_cancel_is_dropped(pair: Pair, word: str) -> None:
    one, two = pair
    task = running(one, concurrency="key/k")
    said = says(task, word, step="ship", names=["x"], children=[child("mail")], delay=9)
    with transaction(two.conn):
        assert two.cancel(task.run_id)
        later = held_up(lambda: one.commit([said], want=1), one.conn, two.conn)
    assert later.result(30).stale == {task.message_id}
    assert one.rows("select status, state from pgflow.runs") == [("cancelled", {})]
    assert one.slots() == []


@pytest.mark.parametrize("word", ["next", "await", "spawn", "retry"])
def test_a_cancel_that_waited_for_an_outcome_ends_what_it_began(pair: Pair, word: str) -> None:
    one, two = pair
    task = running(one)
    kids = [child("mail") for _ in range(3)]
    said = says(task, word, step="ship", names=["x"], children=kids, delay=9)
    with transaction(one.conn):
        one.commit([said], want=1)
        later = held_up(lambda: two.cancel(task.run_id), two.conn, one.conn)
    assert later.result(30)
    assert one.rows("select distinct status from pgflow.runs") == [("cancelled",)]
    assert one.claim() == []


def test_a_cancel_that_waited_for_the_end_comes_too_late(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, "done")])
        later = held_up(lambda: two.cancel(task.run_id), two.conn, one.conn)
    assert not later.result(30)
    assert one.status(task.run_id) == "completed"
