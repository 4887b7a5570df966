"""Two hands at children and their parents, in every order that a lock can force."""

from __future__ import annotations

import json

from stepwell.db.maintain import end_orphans

from .conftest import Connect
from .kinds import child, id_of, says
from .pairs import Pair, waits_for
from .pairs import pair as pair
from .pairs import server as server
from .waiting import held_up, transaction, waits_for_none


def test_two_children_that_end_at_once_take_turns_and_the_second_wakes(pair: Pair) -> None:
    one, two = pair
    kids = [child("mail"), child("mail")]
    parent = waits_for(one, *kids)
    [first], [second] = one.claim(1), two.claim(1)
    with transaction(one.conn):
        one.complete([first])
        later = held_up(lambda: two.complete([second], want=1), two.conn, one.conn)
    assert [task.run_id for task in later.result(30).tasks] == [parent]
    assert one.rows("select pending, completed from pgflow.joins") == [(0, 2)]


def test_the_last_child_passes_over_nothing_when_the_deadline_is_faster(pair: Pair) -> None:
    one, two = pair
    parent = waits_for(one, child("mail"), deadline=60)
    [kid] = one.claim()
    for hands in pair:
        hands.at("61 seconds")
    with transaction(two.conn):
        assert two.promote().promoted == 1
        later = held_up(lambda: one.complete([kid]), one.conn, two.conn)
    later.result(30)
    [task] = one.claim()
    assert (task.run_id, json.loads(task.children or "")["pending"]) == (parent, 0)
    one.commit([says(task, "done")])
    assert one.claim() == []


def test_a_deadline_passes_over_what_the_last_child_is_waking(pair: Pair) -> None:
    one, two = pair
    parent = waits_for(one, child("mail"), deadline=60)
    [kid] = one.claim()
    for hands in pair:
        hands.at("61 seconds")
    with transaction(one.conn):
        one.complete([kid])
        assert waits_for_none(two.promote, two.conn).promoted == 0
    assert two.promote().promoted == 0
    assert [task.run_id for task in two.claim()] == [parent]


def test_a_child_that_ends_while_its_parent_is_cancelled_is_counted_or_dropped(
    pair: Pair,
) -> None:
    one, two = pair
    goes, stays = child("mail"), child("mail", on_parent_end="keep")
    parent = waits_for(one, goes, stays)
    tasks = {task.run_id: task for task in one.claim()}
    with transaction(two.conn):
        two.cancel(parent)
        both = [tasks[id_of(goes)], tasks[id_of(stays)]]
        later = held_up(lambda: one.complete(both), one.conn, two.conn)
    assert later.result(30).stale == {tasks[id_of(goes)].message_id}
    assert one.rows("select pending, completed, failed from pgflow.joins") == [(0, 1, 1)]


def test_a_parent_that_was_held_holds_up_its_child_before_that_holds_anything(
    pair: Pair, connect: Connect
) -> None:
    """Also a parent that has ended: a cancel of the child wants both in the same order."""
    one, two = pair
    bystander = connect()
    kid = child("mail")
    parent = waits_for(one, kid, deadline=0.001)
    [task] = one.claim()
    one.at("1 second")
    one.promote()
    one.commit([says(one.claim()[0], "done")])
    assert one.status(parent) == "completed"
    with transaction(two.conn):
        two.conn.execute("select from pgflow.runs where run_id = %s for no key update", (parent,))
        later = held_up(lambda: one.complete([task]), one.conn, two.conn)
        query = "select from pgflow.runs where run_id = %s and run_id > %s for update nowait"
        bystander.execute(query, (id_of(kid), parent))
    assert later.result(30).stale == frozenset()


def test_the_end_of_orphans_and_an_end_of_their_own_do_not_wait_in_a_circle(pair: Pair) -> None:
    one, two = pair
    kid = child("mail")
    waits_for(one, kid, deadline=0.001)
    [task] = one.claim()
    one.at("1 second")
    one.promote()
    one.commit([says(one.claim()[0], "done")])
    with transaction(two.conn):
        assert end_orphans().on_sync(two.conn)[0].cancelled == 1
        later = held_up(lambda: one.complete([task]), one.conn, two.conn)
    assert later.result(30).stale == {task.message_id}
    assert one.status(id_of(kid)) == "cancelled"
