"""Queues of messages, and the dead letters that came of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from stepwell.db.call import Call
from stepwell.db.connect import connect_options


@dataclass(frozen=True, slots=True)
class QueueRow:
    """`channel` is where inserts into it are announced, if they are."""

    created: bool
    channel: str | None


@dataclass(frozen=True, slots=True)
class Sent:
    msg_ids: list[int]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read; `message` and `headers` are JSON. Others see it from `visible_at`
    on."""

    msg_id: int
    read_ct: int
    enqueued_at: datetime
    visible_at: datetime
    message: str | None
    headers: str | None


@dataclass(frozen=True, slots=True)
class Next:
    """None: nothing is hidden."""

    visible_at: datetime | None


@dataclass(frozen=True, slots=True)
class Extended:
    msg_id: int
    visible_at: datetime


@dataclass(frozen=True, slots=True)
class Closed:
    """`lost` are those that were somebody else's, or gone."""

    lost: list[int]


@dataclass(frozen=True, slots=True)
class MessageState:
    """'held' by its reader, 'archived' by it, or 'lost' to somebody else."""

    state: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How the handling of one message ended: 'archived', 'retry' or 'dead'."""

    msg_id: int
    read_ct: int
    outcome: str
    delay: int = 0
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """A row of dead_letters; `message` and `headers` are JSON."""

    id: int
    queue: str
    msg_id: int
    read_ct: int
    enqueued_at: datetime
    died_at: datetime
    message: str | None
    headers: str | None
    error_type: str
    error_message: str
    traceback: str | None
    worker_id: UUID | None


@dataclass(frozen=True, slots=True)
class Resent:
    """A dead letter that is a message again, as `msg_id`."""

    id: int
    queue: str
    msg_id: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    count: int


def ensure_queue(queue: str) -> Call[QueueRow]:
    return Call("select * from pgflow.ensure_queue(queue => %s)", (queue,), QueueRow)


def send_messages(
    queue: str,
    messages: Sequence[str],
    headers: Sequence[str | None] | None = None,
    delay: float = 0,
) -> Call[Sent]:
    """Messages and headers are JSON text."""
    return Call(
        "select pgflow.send_messages(queue => %s, messages => %s::text[]::jsonb[],"
        " headers => %s::text[]::jsonb[], delay => %s::float8) as msg_ids",
        (queue, list(messages), None if headers is None else list(headers), delay),
        Sent,
    )


def read_messages(queue: str, vt: int, qty: int) -> Call[Message]:
    return Call(
        "select * from pgflow.read_messages(queue => %s, vt => %s::int, qty => %s::int)",
        (queue, vt, qty),
        Message,
    )


def next_message_at(queues: Sequence[str]) -> Call[Next]:
    """When the next of what is hidden now is visible again."""
    return Call(
        "select pgflow.next_message_at(queues => %s::text[]) as visible_at", (list(queues),), Next
    )


def extend_messages(
    queue: str, msg_ids: Sequence[int], read_cts: Sequence[int], vts: Sequence[datetime], vt: int
) -> Call[Extended]:
    return Call(
        "select * from pgflow.extend_messages(queue => %s, msg_ids => %s::bigint[],"
        " read_cts => %s::int[], vts => %s::timestamptz[], vt => %s::int)",
        (queue, list(msg_ids), list(read_cts), list(vts), vt),
        Extended,
    )


def close_messages(
    queue: str, endings: Sequence[Ending], worker: UUID | None = None
) -> Call[Closed]:
    return Call(
        "select pgflow.close_messages(queue => %s, msg_ids => %s::bigint[],"
        " read_cts => %s::int[], outcomes => %s::text[], delays => %s::int[],"
        " error_types => %s::text[], error_messages => %s::text[], tracebacks => %s::text[],"
        " worker => %s::uuid) as lost",
        (
            queue,
            [e.msg_id for e in endings],
            [e.read_ct for e in endings],
            [e.outcome for e in endings],
            [e.delay for e in endings],
            [e.error_type for e in endings],
            [e.error_message for e in endings],
            [e.traceback for e in endings],
            worker,
        ),
        Closed,
    )


def message_state(queue: str, msg_id: int, read_ct: int) -> Call[MessageState]:
    """What became of a reading, once nobody is about to change that."""
    return Call(
        "select pgflow.message_state(queue => %s, msg_id => %s::bigint, read_ct => %s::int)"
        " as state",
        (queue, msg_id, read_ct),
        MessageState,
    )


def list_dead_letters(
    queue: str | None = None, before: int | None = None, most: int = 100
) -> Call[DeadLetterRow]:
    return Call(
        "select dead_letter_id as id, queue, msg_id, read_ct, enqueued_at, died_at,"
        " message::text as message, headers::text as headers, error_type, error_message,"
        " traceback, worker_id from pgflow.list_dead_letters(queue => %s, before => %s::bigint,"
        " most => %s::int)",
        (queue, before, most),
        DeadLetterRow,
    )


def resend_dead_letters(
    queue: str | None = None,
    ids: Sequence[int] | None = None,
    most: int = 1000,
    actor: str | None = None,
) -> Call[Resent]:
    return Call(
        "select dead_letter_id as id, queue_name as queue, msg_id from pgflow.resend_dead_letters("
        "queue => %s, ids => %s::bigint[], most => %s::int, actor => %s)",
        (queue, None if ids is None else list(ids), most, actor),
        Resent,
    )


def forget_dead_letters(
    queue: str | None = None,
    ids: Sequence[int] | None = None,
    most: int = 1000,
    actor: str | None = None,
) -> Call[Forgotten]:
    return Call(
        "select pgflow.forget_dead_letters(queue => %s, ids => %s::bigint[], most => %s::int,"
        " actor => %s) as count",
        (queue, None if ids is None else list(ids), most, actor),
        Forgotten,
    )


@asynccontextmanager
async def announced(dsn: str, channels: Sequence[str]) -> AsyncGenerator[AsyncIterator[str]]:
    """A connection of its own that yields the channel of each announcement."""
    options = connect_options(dsn, 10, "stepwell listen")
    conn: AsyncConnection[Any] = await AsyncConnection.connect(**options)
    async with conn:
        for channel in channels:
            await conn.execute(SQL("listen {}").format(Identifier(channel)))
        yield (notice.channel async for notice in conn.notifies())
