"""Starts and signals inside a transaction of the caller's, on any driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import psycopg
import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from stepwell import Client, Conflict, NotFound, SchemaError, SyncClient, job

from .alchemy import client as client
from .alchemy import engine as engine
from .alchemy import sync_client as sync_client
from .alchemy import sync_engine as sync_engine
from .client_hands import Ears, single

driver: Any = asyncpg  # it has no types
orders = single()


@job(queue="mail")
def send(user_id: int) -> None: ...


@pytest.fixture
async def pg(dsn: str) -> AsyncIterator[Any]:
    conn: Any = await driver.connect(**asyncpg_options(dsn))
    yield conn
    await conn.close()


def asyncpg_options(dsn: str) -> dict[str, Any]:
    given = conninfo_to_dict(dsn)
    names = {"dbname": "database"}
    return {names.get(name, name): value for name, value in given.items() if name in KNOWN}


KNOWN = {"host", "port", "user", "password", "dbname"}


async def count(client: Client) -> int:
    return len(await client.list(limit=10_000))


async def test_a_transaction_of_asyncpg_decides(client: Client, pg: Any) -> None:
    transaction = pg.transaction()
    await transaction.start()
    run = await client.start(orders, 1, key="k", conn=pg)
    await client.enqueue_many([send.call(n) for n in range(1500)], conn=pg)
    await client.signal("k", "paid", {"amount": 1}, conn=pg)
    await transaction.rollback()
    assert await count(client) == 0
    with pytest.raises(NotFound):
        await run.info()
    async with pg.transaction():
        run = await client.start(orders, 1, key="k", conn=pg, priority=-1, delay=5)
        assert (type(run.id), run.created) == (UUID, True)
        sent = await client.signal("k", "paid", [1, None], dedup_key="a", conn=pg)
        assert (sent.run_id, sent.created, type(sent.run_id)) == (run.id, True, UUID)
        assert not (await client.signal(run, "paid", dedup_key="a", conn=pg)).created
    assert (await client.get("k")).priority == -1
    assert [(s.name, s.payload) for s in await run.signals()] == [("paid", [1, None])]


async def test_asyncpg_without_a_transaction_starts_all_or_none(client: Client, pg: Any) -> None:
    await client.enqueue_many([send.call(1), send.call(2)], conn=pg)
    await client.start(orders, 1, key="k1200")
    with pytest.raises(Conflict, match="key 'k1200' belongs to run"):
        keys = [f"k{n}" for n in range(1300)]
        await client.start_many(single("others"), range(1300), keys=keys, conn=pg)
    assert await count(client) == 3


async def test_a_connection_that_a_pool_of_asyncpg_lends(client: Client, dsn: str) -> None:
    async with driver.create_pool(**asyncpg_options(dsn), min_size=0) as pool:
        async with pool.acquire() as lent, lent.transaction():
            assert (await client.enqueue(send.call(1), conn=lent)).created
    assert await count(client) == 1


async def test_errors_of_asyncpg_are_ours_too(client: Client, pg: Any, empty_dsn: str) -> None:
    await client.start(orders, 1, key="k")
    with pytest.raises(Conflict, match="Give runs of different flows different keys"):
        await client.start(single("others"), 1, key="k", conn=pg)
    with pytest.raises(NotFound, match="no flow, machine or job 'orderz'"):
        await client.start("orderz", 1, conn=pg)
    assert await pg.fetchval("select 1") == 1
    bare: Any = await driver.connect(**asyncpg_options(empty_dsn))
    with pytest.raises(SchemaError, match="stepwell migrate"):
        await client.start(orders, 1, conn=bare)
    await bare.close()


async def test_w15_workers_hear_of_it_when_asyncpg_commits(
    client: Client, pg: Any, dsn: str
) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        ears = Ears(conn)
        async with pg.transaction():
            await client.enqueue(send.call(1), conn=pg)
            assert ears.heard() == []
        assert ears.heard() == ["mail"]


async def test_a_session_of_sqlalchemy_decides(client: Client, engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await client.start(orders, 1, conn=session)  # the first thing that it does
        await client.enqueue_many([send.call(n) for n in range(1500)], conn=session)
        await session.rollback()
        assert await count(client) == 0
        run = await client.start(orders, 1, key="k", conn=session)
        await client.signal("k", "paid", conn=session)
        assert await count(client) == 0
        await session.commit()
    assert (await client.get("k")).id == run.id
    async with engine.begin() as conn:
        await client.enqueue(send.call(1), conn=conn)
        assert await count(client) == 1
    assert await count(client) == 2


def test_a_blocking_session_decides(
    sync_client: SyncClient, sync_engine: sqlalchemy.Engine
) -> None:
    with Session(sync_engine) as session:
        sync_client.start(orders, 1, conn=session)
        sync_client.enqueue_many([send.call(n) for n in range(1500)], conn=session)
        session.rollback()
        assert sync_client.list() == []
        sync_client.start(orders, 1, key="k", conn=session)
        sync_client.signal("k", "paid", conn=session)
        session.commit()
    with sync_engine.begin() as conn:
        sync_client.enqueue(send.call(1), conn=conn)
    assert len(sync_client.list()) == 2


async def test_what_is_no_connection_for_it_is_refused_in_words(
    client: Client,
    sync_client: SyncClient,
    dsn: str,
    sync_engine: sqlalchemy.Engine,
    engine: AsyncEngine,
) -> None:
    with psycopg.connect(dsn) as conn, sync_engine.connect() as theirs, Session(theirs) as session:
        for wrong in (conn, theirs, session, object(), "postgresql://"):
            anything: Any = wrong
            with pytest.raises(TypeError, match=r"Client wants a psycopg\.AsyncConnection"):
                await client.start(orders, 1, conn=anything)
    async with AsyncSession(engine) as session, engine.connect() as connection:
        for wrong in (session, connection, object()):
            anything = wrong
            with pytest.raises(TypeError, match=r"Client\.sync wants a psycopg\.Connection"):
                sync_client.start(orders, 1, conn=anything)
