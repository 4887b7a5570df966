"""A call that fails on a connection of the caller leaves the caller's transaction as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import psycopg
import pytest
import sqlalchemy
from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session

from stepwell import Client, Conflict, NoTarget, NotFound

from .client_hands import single
from .test_client_theirs import asyncpg_options, engine, sync_engine

__all__ = ["engine", "sync_engine"]

driver: Any = asyncpg  # it has no types
orders, others = single(), single("others")


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        await client.start(orders, 1, key="taken")
        await client.start(others, 1)
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            await conn.execute("create table mine (x int)")
        yield client


async def refused(client: Client, conn: Any) -> None:
    for error, call in (
        (NoTarget, lambda: client.signal("nobody", "paid", conn=conn)),
        (Conflict, lambda: client.start(others, 1, key="taken", conn=conn)),
        (NotFound, lambda: client.start("nothing", 1, conn=conn)),
        (NoTarget, lambda: client.signal("nobody", "paid", conn=conn)),
    ):
        with pytest.raises(error):
            await call()


async def kept(client: Client, dsn: str, mine: int) -> None:
    """What the caller wrote is there, and what was started in between."""
    async with await AsyncConnection.connect(dsn) as conn:
        rows = await (await conn.execute("select x from mine order by x")).fetchall()
    assert [x for (x,) in rows] == list(range(mine))
    assert (await client.get("in between")).status == "started"


async def test_a_transaction_of_psycopg_goes_on(client: Client, dsn: str) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        await refused(client, conn)  # the first thing in it
        await conn.execute("insert into mine values (0)")
        await refused(client, conn)
        await client.start(orders, 1, key="in between", conn=conn)
        await refused(client, conn)
        await conn.execute("insert into mine values (1)")
        assert len(await client.list()) == 2
    await kept(client, dsn, 2)


async def test_a_block_of_an_autocommit_connection_goes_on(client: Client, dsn: str) -> None:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await refused(client, conn)
        async with conn.transaction():
            await conn.execute("insert into mine values (0)")
            await refused(client, conn)
            await client.start(orders, 1, key="in between", conn=conn)
    await kept(client, dsn, 1)


@pytest.mark.parametrize("begun_by", ["asyncpg", "hand"])
async def test_a_transaction_of_asyncpg_goes_on(client: Client, dsn: str, begun_by: str) -> None:
    conn: Any = await driver.connect(**asyncpg_options(dsn))
    transaction = conn.transaction()
    await (transaction.start() if begun_by == "asyncpg" else conn.execute("begin"))
    await conn.execute("insert into mine values (0)")
    await refused(client, conn)
    await client.start(orders, 1, key="in between", conn=conn)
    await refused(client, conn)
    await conn.execute("insert into mine values (1)")
    await (transaction.commit() if begun_by == "asyncpg" else conn.execute("commit"))
    await conn.close()
    await kept(client, dsn, 2)


async def test_a_session_of_sqlalchemy_goes_on(
    client: Client, dsn: str, engine: AsyncEngine
) -> None:
    async with AsyncSession(engine) as session:
        await refused(client, session)
        await session.execute(sqlalchemy.text("insert into mine values (0)"))
        await refused(client, session)
        await client.start(orders, 1, key="in between", conn=session)
        async with session.begin_nested():
            await refused(client, session)
            await session.execute(sqlalchemy.text("insert into mine values (1)"))
        await session.commit()
    await kept(client, dsn, 2)


async def test_blocking_transactions_go_on(
    client: Client, dsn: str, sync_engine: sqlalchemy.Engine
) -> None:
    with Client.sync(dsn) as sync, psycopg.connect(dsn) as conn, Session(sync_engine) as session:
        conn.execute("insert into mine values (0)")
        session.execute(sqlalchemy.text("insert into mine values (1)"))
        for theirs in (conn, session):
            with pytest.raises(NoTarget):
                sync.signal("nobody", "paid", conn=theirs)
            with pytest.raises(Conflict):
                sync.start(others, 1, key="taken", conn=theirs)
        sync.start(orders, 1, key="in between", conn=session)
        session.commit()
    await kept(client, dsn, 2)


async def test_what_had_failed_before_stays_failed(client: Client, dsn: str) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await conn.execute("select from nowhere")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            await client.start(orders, 1, conn=conn)
        await conn.rollback()
        assert len(await client.list()) == 2


async def test_an_engine_is_no_connection(
    client: Client, dsn: str, engine: AsyncEngine, sync_engine: sqlalchemy.Engine
) -> None:
    anything: Any
    with Client.sync(dsn) as sync:
        for anything in (engine, sync_engine):
            with pytest.raises(TypeError, match="pass a connection or a session of it"):
                await client.start(orders, 1, conn=anything)
            with pytest.raises(TypeError, match="pass a connection or a session of it"):
                sync.start(orders, 1, conn=anything)


async def test_what_names_no_run_is_refused_in_words(client: Client, dsn: str) -> None:
    anything: Any
    with Client.sync(dsn) as sync:
        for anything in (5, None, b"taken", ["taken"], orders):
            with pytest.raises(TypeError, match="names no run; give its id, its key or its handle"):
                await client.get(anything)
            with pytest.raises(TypeError, match="names no run"):
                await client.cancel(anything)
            with pytest.raises(TypeError, match="names no run"):
                sync.signal(anything, "paid")
