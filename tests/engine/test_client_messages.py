"""A client makes queues, sends messages, and looks after dead letters; with a connection of yours
in your transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.pool import NullPool

from stepwell import Client, DefinitionError, NotFound, PayloadError, SyncClient
from stepwell.db.messages import Ending, close_messages, read_messages
from tests.docs.test_blocks import as_url


@dataclass
class Mail:
    to: str


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def sync_client(dsn: str) -> Iterator[SyncClient]:
    with Client.sync(dsn) as client:
        yield client


def rows(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return conn.execute(sql.encode()).fetchall()


def bury(dsn: str, queue: str = "tasks") -> None:
    """What is visible dies."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        read = read_messages(queue, 30, 100).on_sync(conn)
        ends = [Ending(m.msg_id, m.read_ct, "dead", 0, "ValueError", "no", "a trace") for m in read]
        close_messages(queue, ends).on_sync(conn)


async def test_a_queue_is_made_and_gets_messages(client: Client, dsn: str) -> None:
    assert await client.create_queue("tasks")
    assert not await client.create_queue("tasks")
    first = await client.send("tasks", Mail("ada"), headers={"trace": 1})
    rest = await client.send_batch("tasks", [1, None, "two"])
    assert [first, *rest] == sorted({first, *rest})
    assert await client.send_batch("tasks", []) == []
    sent = rows(dsn, "select msg_id, message, headers from pgmq.q_tasks order by msg_id")
    assert sent == [
        (first, {"to": "ada"}, {"trace": 1}),
        (rest[0], 1, None),
        (rest[1], None, None),
        (rest[2], "two", None),
    ]
    assert rows(dsn, "select message is null from pgmq.q_tasks") == [(False,)] * 4


async def test_a_message_may_come_later(client: Client, dsn: str) -> None:
    await client.create_queue("tasks")
    await client.send("tasks", 1, delay=timedelta(hours=1))
    await client.send_batch("tasks", [2], delay=7200.5, headers=[{"a": 1}])
    sql = "select extract(epoch from vt - enqueued_at)::float8 from pgmq.q_tasks order by msg_id"
    assert [later for (later,) in rows(dsn, sql)] == pytest.approx([3600.0, 7200.5], abs=0.4)


async def test_what_cannot_be_sent_is_refused(client: Client) -> None:
    await client.create_queue("tasks")
    with pytest.raises(NotFound, match="no queue 'mail'"):
        await client.send("mail", 1)
    with pytest.raises(PayloadError, match="cannot be written as JSON"):
        await client.send("tasks", object())
    with pytest.raises(PayloadError, match="delay is -1"):
        await client.send("tasks", 1, delay=-1)
    with pytest.raises(PayloadError, match="cannot have ; in it"):
        await client.send("a;b", 1)
    with pytest.raises(PayloadError, match="2 messages and 1 headers"):
        await client.send_batch("tasks", [1, 2], headers=[None])
    with pytest.raises(PayloadError, match="cannot be the name of a queue"):
        await client.create_queue("")
    with pytest.raises(PayloadError, match="limit is 0"):
        await client.dead_letters(limit=0)
    with pytest.raises(DefinitionError, match="no dead letters are named"):
        await client.resend()
    wrong: Any = "17"
    with pytest.raises(PayloadError, match="ids is '17'; it must be a list"):
        await client.resend(ids=wrong)
    with pytest.raises(PayloadError, match="it must be a list"):
        await client.forget_dead_letters(ids=[wrong])


async def test_dead_letters_are_listed_sent_again_and_forgotten(client: Client, dsn: str) -> None:
    await client.create_queue("tasks")
    await client.send_batch("tasks", [{"n": 1}, {"n": 2}, {"n": 3}], headers=[None, {"h": 2}, None])
    bury(dsn)
    three, two, one = await client.dead_letters()
    assert (two.message, two.headers, two.queue, two.read_ct) == ({"n": 2}, {"h": 2}, "tasks", 1)
    assert (two.error_type, two.error_message, two.traceback) == ("ValueError", "no", "a trace")
    assert await client.dead_letters("tasks", before=three.id, limit=1) == [two]
    assert await client.dead_letters("mail") == []
    [again] = await client.resend(ids=[two.id], actor="ann")
    assert (again.id, again.queue) == (two.id, "tasks")
    assert [s.id for s in await client.resend("tasks", limit=1)] == [one.id]
    assert await client.forget_dead_letters("tasks") == 1
    assert await client.dead_letters() == []
    sent = rows(dsn, "select msg_id, message, headers from pgmq.q_tasks order by msg_id")
    assert sent[0] == (again.msg_id, {"n": 2}, {"h": 2})
    done = [(entry.action, entry.target, entry.detail) for entry in await client.audit()]
    assert done[-1] == ("resend", "tasks", {"dead_letter": two.id, "msg_id": again.msg_id})
    assert [action for action, *_ in done] == ["forget", "resend", "resend"]


def test_the_sync_client_does_the_same(sync_client: SyncClient, dsn: str) -> None:
    assert sync_client.create_queue("tasks")
    assert sync_client.send("tasks", 1) < sync_client.send_batch("tasks", [2, 3])[0]
    bury(dsn)
    newest = sync_client.dead_letters(limit=1)
    assert [letter.message for letter in newest] == [3]
    assert len(sync_client.resend("tasks", limit=2)) == 2
    assert sync_client.forget_dead_letters(ids=[newest[0].id]) == 1
    with psycopg.connect(dsn) as conn:
        sync_client.send("tasks", "never", conn=conn)
        conn.rollback()
    assert [m for (m,) in rows(dsn, "select message from pgmq.q_tasks order by msg_id")] == [1, 2]


async def test_a_send_is_part_of_your_transaction(client: Client, dsn: str) -> None:
    await client.create_queue("tasks")
    async with await AsyncConnection.connect(dsn) as conn:
        await client.send("tasks", "never", conn=conn)
        await conn.rollback()
        await client.send("tasks", "psycopg", conn=conn)
        await conn.commit()
    engine = create_async_engine(
        as_url(dsn).replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool
    )
    async with AsyncSession(engine) as session:
        await client.send("tasks", "never", conn=session, headers={"h": 1})
        await session.rollback()
        await client.send("tasks", "asyncpg", conn=session, headers={"h": 1})
        await session.commit()
    await engine.dispose()
    sent = rows(dsn, "select message, headers from pgmq.q_tasks order by msg_id")
    assert sent == [("psycopg", None), ("asyncpg", {"h": 1})]
