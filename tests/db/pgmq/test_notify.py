"""Inserts are announced: once per interval, and until the last who asked for it asks no more."""

from __future__ import annotations

import psycopg
import pytest

from tests.db.conftest import Connect
from tests.db.hands import Hands
from tests.db.shapes import single
from tests.db.waiting import PATIENCE, held_up, transaction, waits_for_none

from .queues import Queues

CHANNEL = "pgmq.q_tasks.INSERT"


def heard(listener: Queues) -> list[tuple[str, str]]:
    """What was said before this; all of it is here when the round trip is over."""
    listener.rows("select 1")
    return [(said.channel, said.payload) for said in listener.conn.notifies(timeout=0)]


@pytest.fixture
def listener(connect: Connect) -> Queues:
    listener = Queues(connect())
    listener.create("tasks")
    listener.conn.execute(f'listen "{CHANNEL}"')
    return listener


@pytest.fixture
def sender(connect: Connect, listener: Queues) -> Queues:
    return Queues(connect())


def test_nothing_is_said_unless_somebody_asks(listener: Queues, sender: Queues) -> None:
    sender.send("tasks", 1)
    assert heard(listener) == []


def test_an_insert_is_announced_on_the_channel_of_its_relation(
    listener: Queues, sender: Queues
) -> None:
    listener.rows("select pgmq.enable_notify_insert('tasks', 0)")
    sender.send("tasks", 1)
    sender.rows("select pgmq.send_batch('tasks', array['2', '3']::jsonb[])")
    assert heard(listener) == [(CHANNEL, "")] * 2


def test_within_the_interval_nothing_more_is_said(listener: Queues, sender: Queues) -> None:
    listener.rows("select pgmq.enable_notify_insert('tasks', 60000)")
    sender.send("tasks", 1, 2, 3)
    assert heard(listener) == [(CHANNEL, "")]
    sender.at("61 seconds")
    sender.send("tasks", 4)
    assert heard(listener) == [(CHANNEL, "")]


def test_the_shortest_interval_counts(listener: Queues, sender: Queues) -> None:
    for interval in (60000, 0, 60000):
        listener.rows("select pgmq.enable_notify_insert('tasks', %s)", interval)
    sender.send("tasks", 1, 2)
    assert heard(listener) == [(CHANNEL, "")] * 2


def test_one_node_that_stops_leaves_the_others_their_notifications(
    listener: Queues, sender: Queues
) -> None:
    for _ in range(2):
        listener.rows("select pgmq.enable_notify_insert('tasks', 0)")
    sender.rows("select pgmq.disable_notify_insert('tasks')")
    sender.send("tasks", 1)
    assert heard(listener) == [(CHANNEL, "")]
    sender.rows("select pgmq.disable_notify_insert('tasks')")
    sender.send("tasks", 2)
    assert heard(listener) == []
    sender.rows("select pgmq.disable_notify_insert('tasks')")  # once too often is nothing


def test_senders_do_not_wait_for_each_other(connect: Connect, listener: Queues) -> None:
    listener.rows("select pgmq.enable_notify_insert('tasks', 0)")
    first, second = Queues(connect()), Queues(connect())
    with transaction(first.conn):
        first.send("tasks", 1)
        waits_for_none(lambda: second.send("tasks", 2), second.conn)
    assert heard(listener) == [(CHANNEL, "")]


def test_who_enables_again_does_not_wait_for_who_sends(connect: Connect, listener: Queues) -> None:
    listener.rows("select pgmq.enable_notify_insert('tasks', 60000)")
    listener.rows("select pgmq.send('tasks', '0')")
    first, second = Queues(connect()), Queues(connect())
    with transaction(first.conn):
        first.send("tasks", 1)
        waits_for_none(
            lambda: second.rows("select pgmq.enable_notify_insert('tasks')"), second.conn
        )


def test_who_takes_an_announcement_back_leaves_the_next_one_to_others(
    connect: Connect, listener: Queues
) -> None:
    """What was sent meanwhile is not announced by itself: listeners look now and then."""
    listener.rows("select pgmq.enable_notify_insert('tasks', 60000)")
    first, second = Queues(connect()), Queues(connect())
    with first.conn.transaction(force_rollback=True):
        first.send("tasks", 1)
        waits_for_none(lambda: second.send("tasks", 2), second.conn)
    assert heard(listener) == []
    assert [message for (message,) in listener.rows("select message from pgmq.q_tasks")] == [2]
    second.send("tasks", 3)
    assert heard(listener) == [(CHANNEL, "")]


def test_a_queue_that_is_not_there_is_named(listener: Queues) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable, match="There is no queue 'nobody'"):
        listener.rows("select pgmq.enable_notify_insert('nobody')")
    listener.rows("select pgmq.disable_notify_insert('nobody')")


def test_a_queue_that_is_dropped_meanwhile_is_not_there(connect: Connect, listener: Queues) -> None:
    first, second = Queues(connect()), Queues(connect())
    with transaction(first.conn):
        first.rows("select pgmq.drop_queue('tasks')")
        late = held_up(
            lambda: second.rows("select pgmq.enable_notify_insert('tasks')"),
            second.conn,
            first.conn,
        )
    with pytest.raises(psycopg.errors.UndefinedTable, match="There is no queue 'tasks'"):
        late.result(PATIENCE)
    with transaction(first.conn):
        first.rows("select pgmq.create('tasks')")
        late = held_up(
            lambda: second.rows("select pgmq.enable_notify_insert('tasks')"),
            second.conn,
            first.conn,
        )
    late.result(PATIENCE)
    assert listener.rows("select queue_name from pgmq.notify_insert_throttle") == [("tasks",)]


def test_an_interval_below_zero_is_refused(listener: Queues) -> None:
    with pytest.raises(psycopg.Error, match="throttle_interval_ms is 0 or more"):
        listener.rows("select pgmq.enable_notify_insert('tasks', -1)")


def test_tasks_of_a_flow_are_announced_too(connect: Connect) -> None:
    hands, listener = Hands(connect()), Queues(connect())
    hands.define(single("flow"))
    hands.define(single("quiet"))
    listener.conn.execute('listen "pgmq.q_flow.INSERT"')
    hands.begin("flow")
    assert heard(listener) == []
    listener.rows("select pgmq.enable_notify_insert('flow', 0)")
    hands.begin("flow")
    hands.begin("quiet")
    assert heard(listener) == [("pgmq.q_flow.INSERT", "")]
    listener.rows("select pgmq.disable_notify_insert('flow')")
    hands.begin("flow")
    assert heard(listener) == []


def test_a_flow_runs_although_the_schema_that_announced_it_is_gone(connect: Connect) -> None:
    hands = Hands(connect())
    hands.define(single("flow"))
    hands.rows("select pgmq.enable_notify_insert('flow', 0)")
    hands.conn.execute("drop schema pgmq cascade")
    hands.register()
    hands.begin("flow")
    assert hands.drain() == 1


def test_a_dropped_queue_is_forgotten(listener: Queues, sender: Queues) -> None:
    listener.rows("select pgmq.enable_notify_insert('tasks', 0)")
    listener.rows("select pgmq.drop_queue('tasks')")
    listener.create("tasks")
    sender.send("tasks", 1)
    assert heard(listener) == []
