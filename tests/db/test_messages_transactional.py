"""The end of a message inside the transaction that its handler wrote in, with two connections in a
forced order."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from stepwell.db.messages import (
    Message,
    ensure_queue,
    extend_messages,
    message_state,
    read_messages,
    send_messages,
)
from stepwell.db.transaction import archive_transactional, beginning
from stepwell.errors import TransactionError
from tests.servers import DatabaseServer

from .hands import Connection
from .waiting import held_up, waits_for_none

Connect = Callable[[], Connection]
QUEUE = "tasks"


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def conn(connect: Connect) -> Connection:
    conn = connect()
    ensure_queue(QUEUE).on_sync(conn)
    send_messages(QUEUE, ["1"]).on_sync(conn)
    conn.execute("create table wrote (number int primary key)")
    return conn


@contextmanager
def handling(conn: Connection, message: Message) -> Generator[None]:
    """As a worker does it around a handler; the end decides."""
    conn.execute(beginning(message.msg_id, 60.0, conn.info.server_version))
    conn.execute("insert into wrote values (%s)", (message.read_ct,))
    try:
        yield
    finally:
        conn.execute("rollback")  # a warning at most, where it is over


def read(conn: Connection) -> Message:
    [message] = read_messages(QUEUE, 60, 1).on_sync(conn)
    return message


def archive(conn: Connection, message: Message) -> bool:
    return archive_transactional(QUEUE, message.msg_id, message.read_ct).on_sync(conn)[0].archived


def state(conn: Connection, message: Message) -> str:
    return message_state(QUEUE, message.msg_id, message.read_ct).on_sync(conn)[0].state


def show(conn: Connection, message: Message) -> None:
    conn.execute("select pgmq.set_vt(%s, %s, 0)", (QUEUE, message.msg_id))


def ends(conn: Connection) -> tuple[list[int], list[int]]:
    """What was written, and the read_ct of what is archived."""
    wrote = conn.execute("select number from wrote order by 1").fetchall()
    archived = conn.execute("select read_ct from pgmq.a_tasks order by 1").fetchall()
    return [n for (n,) in wrote], [n for (n,) in archived]


def test_who_read_it_meanwhile_has_it(conn: Connection, connect: Connect) -> None:
    other = connect()
    message = read(conn)
    with handling(conn, message):
        show(other, message)
        theirs = read(other)
        assert not archive(conn, message)
        with handling(other, theirs):
            assert waits_for_none(lambda: archive(other, theirs), other)
            other.execute("commit")
    assert ends(conn) == ([2], [2])


def test_between_its_end_and_the_commit_nobody_reads_it(conn: Connection, connect: Connect) -> None:
    other = connect()
    message = read(conn)
    show(conn, message)  # its time is over, and nobody has noticed
    with handling(conn, message):
        assert archive(conn, message)
        call = read_messages(QUEUE, 60, 1)
        assert waits_for_none(lambda: call.on_sync(other), other) == []
        conn.execute("commit")
    assert read_messages(QUEUE, 60, 1).on_sync(other) == []
    assert ends(conn) == ([1], [1])


def test_a_second_transaction_for_one_reading_waits_and_finds_it_gone(
    conn: Connection, connect: Connect
) -> None:
    """The answer to the first commit was lost, and the handler ran again."""
    other = connect()
    message = read(conn)
    again = Message(
        message.msg_id, 1, message.enqueued_at, message.visible_at, message.message, None
    )
    with handling(conn, message):
        assert archive(conn, message)
        other.execute(beginning(message.msg_id, 60.0, other.info.server_version))
        second = held_up(lambda: archive(other, again), other, conn)
        conn.execute("commit")
    assert second.result(timeout=60) is False
    other.execute("rollback")
    assert ends(conn) == ([1], [1])


@pytest.mark.parametrize(("end", "says"), [("commit", "archived"), ("rollback", "held")])
def test_what_became_of_it_is_known_once_nobody_changes_it(
    conn: Connection, connect: Connect, end: str, says: str
) -> None:
    other = connect()
    message = read(conn)
    with handling(conn, message):
        assert archive(conn, message)
        asked = held_up(lambda: state(other, message), other, conn)
        conn.execute("commit" if end == "commit" else "rollback")
    assert asked.result(timeout=60) == says
    if says == "held":
        show(other, message)
        read(other)
        assert state(other, message) == "lost"


@pytest.mark.parametrize("theirs", ["its end", "a time of its own"])
def test_an_extension_of_others_does_not_wait_for_a_message_that_is_locked(
    conn: Connection, connect: Connect, theirs: str
) -> None:
    other = connect()
    send_messages(QUEUE, ["2"]).on_sync(conn)
    message, beside = read_messages(QUEUE, 60, 2).on_sync(conn)
    ids, vts = [message.msg_id, beside.msg_id], [message.visible_at, beside.visible_at]
    call = extend_messages(QUEUE, ids, [1, 1], vts, 600)
    with handling(conn, message):
        if theirs == "its end":
            assert archive(conn, message)
        else:
            conn.execute("select pgmq.set_vt(%s, %s, 900)", (QUEUE, message.msg_id))
        extended = {
            row.msg_id: row.visible_at for row in waits_for_none(lambda: call.on_sync(other), other)
        }
        assert extended[message.msg_id] == message.visible_at  # not lost, and not extended
        assert extended[beside.msg_id] > beside.visible_at
        conn.execute("rollback")
    vts = [extended[each] for each in ids]
    again = extend_messages(QUEUE, ids, [1, 1], vts, 600).on_sync(other)
    assert {row.msg_id for row in again if row.visible_at > extended[row.msg_id]} == {*ids}
    assert ends(conn) == ([], [])


def test_an_end_outside_of_its_transaction_is_refused(conn: Connection) -> None:
    message = read(conn)
    with pytest.raises(TransactionError, match="has ended its transaction by itself"):
        archive(conn, message)
    conn.execute("begin isolation level repeatable read")
    conn.execute("select set_config('pgflow.claim', %s, true)", (str(message.msg_id),))
    with pytest.raises(TransactionError, match="transaction is repeatable read"):
        archive(conn, message)
    conn.execute("rollback")
    assert ends(conn) == ([], [])
    assert state(conn, message) == "held"
