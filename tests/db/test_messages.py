"""What a queue worker asks of the database: a message is its reader's until somebody else reads
it, and how its handling ended is written once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from stepwell.db.inspect import QueueInfo, list_queues
from stepwell.db.messages import (
    Ending,
    Message,
    close_messages,
    ensure_queue,
    extend_messages,
    list_dead_letters,
    read_messages,
    send_messages,
)
from stepwell.db.steer import pause_queue, resume_queue
from stepwell.errors import DefinitionError, NotFound
from tests.servers import DatabaseServer

from .hands import Connection, Hands
from .shapes import single
from .waiting import held_up, transaction, waits_for_none

Connect = Callable[[], Connection]


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


class Queue:
    """A queue of messages, moved by hand."""

    def __init__(self, conn: Connection, name: str = "tasks") -> None:
        self.conn = conn
        self.name = name

    def make(self) -> bool:
        return ensure_queue(self.name).on_sync(self.conn)[0].created

    def send(self, *messages: object, delay: float = 0) -> list[int]:
        call = send_messages(self.name, [json.dumps(each) for each in messages], delay=delay)
        return call.on_sync(self.conn)[0].msg_ids

    def read(self, vt: int = 30, qty: int = 10) -> list[Message]:
        return read_messages(self.name, vt, qty).on_sync(self.conn)

    def close(self, *endings: Ending) -> list[int]:
        return close_messages(self.name, endings).on_sync(self.conn)[0].lost

    def extend(self, *messages: Message, vt: int = 60) -> dict[int, datetime]:
        ids, counts = [m.msg_id for m in messages], [m.read_ct for m in messages]
        call = extend_messages(self.name, ids, counts, [m.visible_at for m in messages], vt)
        return {row.msg_id: row.visible_at for row in call.on_sync(self.conn)}

    def show(self, message: Message, vt: int = 0) -> None:
        self.conn.execute("select pgmq.set_vt(%s, %s, %s)", (self.name, message.msg_id, vt))

    def there(self) -> list[Any]:
        return [m for (m,) in self.conn.execute("select message from pgmq.q_tasks order by msg_id")]

    def archived(self) -> list[Any]:
        return [m for (m,) in self.conn.execute("select message from pgmq.a_tasks order by msg_id")]


@pytest.fixture
def queue(connect: Connect) -> Queue:
    queue = Queue(connect())
    assert queue.make()
    return queue


def ended(message: Message, outcome: str = "archived", delay: int = 0) -> Ending:
    return Ending(message.msg_id, message.read_ct, outcome, delay, "ValueError", "no", "a trace")


# --- making and sending ---


def test_a_queue_is_made_once(queue: Queue) -> None:
    assert not queue.make()
    [row] = ensure_queue("tasks").on_sync(queue.conn)
    assert row.channel == "pgmq.q_tasks.INSERT"
    names = queue.conn.execute("select queue_name from pgmq.list_queues()").fetchall()
    assert names == [("tasks",)]


def test_the_queue_of_a_flow_is_not_for_queue_workers(hands: Hands) -> None:
    hands.define(single("orders"))
    with pytest.raises(DefinitionError, match=r"'orders' is that of a flow.* another name"):
        ensure_queue("orders").on_sync(hands.conn)


def test_a_flow_that_takes_the_name_later_keeps_its_tasks(hands: Hands) -> None:
    queue = Queue(hands.conn, "orders")
    assert queue.make()
    hands.define(single("orders"))
    hands.start("orders")
    with pytest.raises(DefinitionError, match=r"'orders' is that of a flow"):
        queue.read()


def test_messages_are_sent_in_their_order_all_or_none(queue: Queue) -> None:
    ids = queue.send({"n": 1}, [2], None, "three", False)
    assert ids == sorted(ids) and len(ids) == 5
    assert queue.there() == [{"n": 1}, [2], None, "three", False]
    [first, *_] = queue.read()
    assert (first.msg_id, first.read_ct, first.message, first.headers) == (
        ids[0],
        1,
        '{"n": 1}',
        None,
    )


def test_headers_go_with_their_message(queue: Queue) -> None:
    send_messages("tasks", ["1", "2"], ['{"a": 1}', None]).on_sync(queue.conn)
    assert [m.headers for m in queue.read()] == ['{"a": 1}', None]


def test_sending_to_a_queue_that_is_not_there_says_what_to_do(queue: Queue) -> None:
    with pytest.raises(NotFound, match=r"no queue 'mail' in this database.*stepwell queues create"):
        Queue(queue.conn, "mail").send(1)


def test_a_message_may_come_later(queue: Queue) -> None:
    queue.send("later", delay=3600.5)
    assert queue.read() == []
    queue.conn.execute("select set_config('pgflow.now', (now() + '3602 s')::text, false)")
    assert [m.message for m in queue.read()] == ['"later"']


def test_nothing_is_read_of_a_paused_queue(queue: Queue) -> None:
    queue.send(1)
    pause_queue("tasks").on_sync(queue.conn)
    assert queue.read() == []
    resume_queue("tasks").on_sync(queue.conn)
    assert len(queue.read()) == 1


def test_queues_of_messages_are_listed_among_the_others(hands: Hands) -> None:
    hands.define(single("orders"))
    queue, other = Queue(hands.conn), Queue(hands.conn, "orders2")
    assert queue.make() and other.make()
    pause_queue("tasks", reason="why").on_sync(hands.conn)
    assert [listed_as(row) for row in list_queues().on_sync(hands.conn)] == [
        ("orders", 0, 0, None),
        ("orders2", 0, 0, None),
        ("tasks", 0, 0, "why"),
    ]
    resume_queue("tasks").on_sync(hands.conn)
    queue.send(1, 2, 3)
    queue.send(4, delay=3600)
    queue.read(qty=2)
    hands.start("orders")
    found = {row.queue: row for row in list_queues().on_sync(hands.conn)}
    assert listed_as(found["tasks"]) == ("tasks", 1, 2, None)
    assert listed_as(found["orders"]) == ("orders", 1, 0, None)
    assert found["tasks"].oldest_at is not None and found["orders2"].oldest_at is None


def listed_as(row: QueueInfo) -> tuple[str, int, int, str | None]:
    return row.queue, row.ready, row.running, row.reason


# --- how it ends ---


def test_each_message_ends_as_it_is_said(queue: Queue) -> None:
    queue.send("done", "again", "lost cause", "other")
    done, again, dead, other = queue.read()
    assert queue.close(ended(done), ended(again, "retry", 0), ended(dead, "dead")) == []
    assert queue.there() == ["again", "other"]
    assert queue.archived() == ["done", "lost cause"]
    assert [(m.message, m.read_ct) for m in queue.read()] == [('"again"', 2)]
    [letter] = list_dead_letters().on_sync(queue.conn)
    assert (letter.queue, letter.msg_id, letter.read_ct) == ("tasks", dead.msg_id, 1)
    assert (letter.message, letter.error_type, letter.error_message, letter.traceback) == (
        '"lost cause"',
        "ValueError",
        "no",
        "a trace",
    )
    assert letter.enqueued_at == dead.enqueued_at
    assert queue.close(ended(other)) == []


def test_a_retry_waits_for_its_delay(queue: Queue) -> None:
    queue.send(1)
    queue.close(ended(queue.read()[0], "retry", 3600))
    assert queue.read() == []
    queue.conn.execute("select set_config('pgflow.now', (now() + '3601 s')::text, false)")
    assert queue.read()[0].read_ct == 2


def test_who_lost_a_message_changes_nothing_about_it(queue: Queue) -> None:
    queue.send(1, 2, 3)
    first = queue.read()
    for message in first:
        queue.show(message)
    second = queue.read()
    words = ("archived", "retry", "dead")
    lost = queue.close(*(ended(m, word) for m, word in zip(first, words, strict=True)))
    assert lost == [m.msg_id for m in first]
    assert queue.read() == [] and len(queue.there()) == 3 and queue.archived() == []
    assert list_dead_letters().on_sync(queue.conn) == []
    assert queue.close(*(ended(m) for m in second)) == []
    assert queue.close(*(ended(m) for m in second)) == [m.msg_id for m in second], "twice is once"


def test_a_letter_and_its_archive_come_together_or_not_at_all(queue: Queue) -> None:
    queue.send(1)
    [message] = queue.read()
    queue.conn.execute(
        "create function pgflow.wall() returns trigger language plpgsql as"
        " $$ begin raise exception 'wall'; end $$;"
        " create trigger wall before insert on pgmq.a_tasks execute function pgflow.wall()"
    )
    with pytest.raises(Exception, match="wall"):
        queue.close(ended(message, "dead"))
    assert queue.there() == [1] and list_dead_letters().on_sync(queue.conn) == []


# --- who has it ---


def test_a_message_that_is_handled_stays_hidden(queue: Queue) -> None:
    queue.send(1, 2)
    one, two = queue.read(vt=30)
    until = queue.extend(one, vt=60)
    assert set(until) == {one.msg_id} and until[one.msg_id] > one.visible_at
    assert set(queue.extend(one, two)) == {one.msg_id, two.msg_id}, "what we know may be older"


def test_what_others_read_or_made_visible_is_not_extended(queue: Queue) -> None:
    queue.send(1, 2, 3)
    read, shown, gone = queue.read()
    queue.show(shown)
    queue.show(read)
    [again] = queue.read(vt=100, qty=1)
    assert again.msg_id == read.msg_id
    queue.close(ended(gone))
    assert queue.extend(read, shown, gone) == {}
    assert {m.msg_id for m in queue.read()} == {shown.msg_id}


def test_an_extension_that_comes_late_does_not_undo_a_retry(queue: Queue) -> None:
    queue.send(1, 2)
    soon, late = queue.read(vt=30)
    queue.close(ended(soon, "retry", 0), ended(late, "retry", 3600))
    assert soon.msg_id not in queue.extend(soon, late, vt=60)
    assert [m.msg_id for m in queue.read()] == [soon.msg_id]
    queue.conn.execute("select set_config('pgflow.now', (now() + '1200 s')::text, false)")
    assert {m.msg_id for m in queue.read()} == {soon.msg_id}


# --- side by side ---


def test_two_readers_never_read_the_same_message(queue: Queue, connect: Connect) -> None:
    queue.send(*range(10))
    other = Queue(connect())
    with transaction(queue.conn):
        ours = queue.read(qty=4)
        theirs = waits_for_none(other.read, other.conn)
    ids = [m.msg_id for m in (*ours, *theirs)]
    assert len(ids) == len(set(ids)) == 10


def test_an_end_waits_for_an_extension_and_counts(queue: Queue, connect: Connect) -> None:
    queue.send(1)
    [message] = queue.read()
    other = Queue(connect())
    with transaction(queue.conn):
        assert queue.extend(message)
        closing = held_up(lambda: other.close(ended(message)), other.conn, queue.conn)
    assert closing.result(timeout=60) == []
    assert queue.archived() == [1]


def test_an_extension_does_not_wait_for_an_end_and_then_finds_nothing(
    queue: Queue, connect: Connect
) -> None:
    queue.send(1)
    [message] = queue.read()
    other = Queue(connect())
    with transaction(queue.conn):
        queue.close(ended(message))
        kept = waits_for_none(lambda: other.extend(message), other.conn)
        assert kept == {message.msg_id: message.visible_at}
    assert other.extend(message) == {}
