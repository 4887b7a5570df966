"""Two hands at machines and their signals, in every order that a lock can force."""

from __future__ import annotations

from .kinds import says
from .pairs import Pair, awaited, parked, running
from .pairs import pair as pair
from .pairs import server as server
from .waiting import held_up, transaction, waits_for_none


def test_a_signal_that_waited_for_its_run_to_park_wakes_it(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(one.conn):
        one.commit([says(task, "await", step="ship", names=["paid"], handed=[])])
        later = held_up(lambda: two.send("k", "paid", 1), two.conn, one.conn)
    assert later.result(30).queue == "order"
    assert [awaited(task) for task in one.claim()] == [[1]]


def test_a_park_that_waited_for_a_signal_sees_it(pair: Pair) -> None:
    one, two = pair
    task = running(one)
    with transaction(two.conn):
        two.send("k", "paid", 1)
        said = says(task, "await", step="ship", names=["paid"], handed=[])
        later = held_up(lambda: one.commit([said], want=1), one.conn, two.conn)
    assert [awaited(task) for task in later.result(30).tasks] == [[1]]


def test_the_last_two_of_a_set_wake_it_once_whichever_is_last(pair: Pair) -> None:
    one, two = pair
    parked(one, "paid", "packed", all=True)
    with transaction(one.conn):
        one.send("k", "paid")
        later = held_up(lambda: two.send("k", "packed"), two.conn, one.conn)
    assert later.result(30).queue == "order"
    [task] = one.claim()
    assert len(awaited(task)) == 2


def test_a_signal_that_waited_for_the_timeout_is_handed_with_it(pair: Pair) -> None:
    one, two = pair
    parked(one, timeout=60)
    one.at("61 seconds")
    two.at("61 seconds")
    with transaction(one.conn):
        assert one.promote().promoted == 1
        later = held_up(lambda: two.send("k", "paid", 1), two.conn, one.conn)
    later.result(30)
    assert [awaited(task) for task in one.claim()] == [[1]]


def test_a_timeout_passes_over_what_a_signal_is_waking(pair: Pair) -> None:
    one, two = pair
    parked(one, timeout=60)
    one.at("61 seconds")
    two.at("61 seconds")
    with transaction(one.conn):
        one.send("k", "paid", 1)
        assert waits_for_none(two.promote, two.conn).promoted == 0
    assert [awaited(task) for task in two.claim()] == [[1]]
    assert two.promote().promoted == 0
