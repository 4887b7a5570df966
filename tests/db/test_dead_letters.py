"""Dead letters are listed, sent again, and forgotten; each leaves a row in the audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell.db.messages import (
    DeadLetterRow,
    Ending,
    close_messages,
    ensure_queue,
    forget_dead_letters,
    list_dead_letters,
    read_messages,
    resend_dead_letters,
    send_messages,
)
from stepwell.errors import DefinitionError, NotFound

from .hands import Connection
from .waiting import transaction, waits_for_none

Connect = Callable[[], Connection]


@pytest.fixture
def conn(connect: Connect) -> Connection:
    return connect()


def bury(conn: Connection, queue: str, *messages: str, headers: str | None = None) -> list[int]:
    """Let messages die; answers with the ids of their letters."""
    ensure_queue(queue).on_sync(conn)
    given = None if headers is None else [headers] * len(messages)
    send_messages(queue, messages, given).on_sync(conn)
    read = read_messages(queue, 30, len(messages)).on_sync(conn)
    endings = [Ending(m.msg_id, m.read_ct, "dead", 0, "ValueError", "no") for m in read]
    assert close_messages(queue, endings).on_sync(conn)[0].lost == []
    return sorted(letter.id for letter in letters(conn, queue))[-len(messages) :]


def letters(conn: Connection, queue: str | None = None, **how: Any) -> list[DeadLetterRow]:
    return list_dead_letters(queue, **how).on_sync(conn)


def audit(conn: Connection) -> list[tuple[Any, ...]]:
    return conn.execute(
        "select actor, action, kind, target, (detail ->> 'dead_letter')::int from pgflow.audit"
        " order by audit_id"
    ).fetchall()


def test_letters_are_listed_newest_first(conn: Connection) -> None:
    first = bury(conn, "tasks", "1", "2", "3")
    [other] = bury(conn, "mail", '"hi"')
    assert [letter.id for letter in letters(conn)] == [other, *reversed(first)]
    assert [letter.id for letter in letters(conn, "tasks", most=2)] == first[:0:-1]
    assert [letter.id for letter in letters(conn, "tasks", before=first[1])] == first[:1]
    assert [letter.message for letter in letters(conn, "mail")] == ['"hi"']
    assert letters(conn, "nobody") == []


def test_a_letter_is_sent_again_as_a_new_message_with_its_headers(conn: Connection) -> None:
    [dead] = bury(conn, "tasks", '{"n": 1}', headers='{"trace": "x"}')
    [sent] = resend_dead_letters(ids=[dead], actor="ann").on_sync(conn)
    assert (sent.id, sent.queue) == (dead, "tasks")
    [message] = read_messages("tasks", 30, 10).on_sync(conn)
    assert (message.msg_id, message.read_ct) == (sent.msg_id, 1)
    assert (message.message, message.headers) == ('{"n": 1}', '{"trace": "x"}')
    assert letters(conn) == []
    assert resend_dead_letters(ids=[dead]).on_sync(conn) == [], "it is sent once"
    assert audit(conn) == [("ann", "resend", "queue", "tasks", dead)]


def test_those_of_a_queue_are_sent_oldest_first_and_no_others(conn: Connection) -> None:
    tasks = bury(conn, "tasks", "1", "2", "3")
    [other] = bury(conn, "mail", "4")
    assert [s.id for s in resend_dead_letters("tasks", most=2).on_sync(conn)] == tasks[:2]
    assert resend_dead_letters("tasks", [other]).on_sync(conn) == [], "it is of another queue"
    assert [letter.id for letter in letters(conn)] == [other, tasks[2]]
    messages = read_messages("tasks", 30, 10).on_sync(conn)
    assert [m.message for m in messages] == ["1", "2"]


def test_a_letter_whose_queue_is_gone_stays(conn: Connection) -> None:
    kept = bury(conn, "tasks", "1")
    conn.execute("select pgmq.drop_queue('tasks')")
    with pytest.raises(NotFound, match="no queue 'tasks'"):
        resend_dead_letters("tasks").on_sync(conn)
    assert [letter.id for letter in letters(conn)] == kept and audit(conn) == []


def test_letters_are_forgotten(conn: Connection) -> None:
    one, two, three = bury(conn, "tasks", "1", "2", "3")
    assert forget_dead_letters(ids=[two]).on_sync(conn)[0].count == 1
    assert forget_dead_letters("tasks", most=1).on_sync(conn)[0].count == 1
    assert [letter.id for letter in letters(conn)] == [three]
    assert [row[1:] for row in audit(conn)] == [
        ("forget", "queue", "tasks", two),
        ("forget", "queue", "tasks", one),
    ]
    assert conn.execute("select count(*) from pgmq.a_tasks").fetchone() == (3,)


@pytest.mark.parametrize("call", [resend_dead_letters, forget_dead_letters])
def test_somebody_must_say_which(conn: Connection, call: Callable[[], Any]) -> None:
    with pytest.raises(DefinitionError, match=r"no dead letters are named\. Say which queue"):
        call().on_sync(conn)


def test_two_who_send_again_at_once_send_each_letter_once(
    conn: Connection, connect: Connect
) -> None:
    bury(conn, "tasks", "1", "2", "3")
    other = connect()
    with transaction(conn):
        ours = resend_dead_letters("tasks", most=2).on_sync(conn)
        theirs = waits_for_none(lambda: resend_dead_letters("tasks").on_sync(other), other)
    assert len(ours) == 2 and len(theirs) == 1


def test_letters_tell_the_time_of_the_one_clock(conn: Connection) -> None:
    conn.execute("set pgflow.now = '2030-01-01 12:00+00'")
    bury(conn, "tasks", "1")
    assert letters(conn)[0].died_at == datetime(2030, 1, 1, 12, tzinfo=UTC)
