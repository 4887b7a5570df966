"""Workers are woken after the commit of the caller: by the caller's library where it says when
that is, else by Postgres; never by what was rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import django.conf  # pyright: ignore[reportMissingTypeStubs]
import django.db  # pyright: ignore[reportMissingTypeStubs]
import psycopg
import pytest
import sqlalchemy
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from stepwell import Client, Conflict, SyncClient, job

from .alchemy import client as client
from .alchemy import engine as engine
from .alchemy import sync_client as sync_client
from .alchemy import sync_engine as sync_engine
from .client_hands import Ears, single

django_settings: Any = django.conf.settings
django_db: Any = django.db  # they have no types
orders = single()


@job(queue="mail")
def send(user_id: int) -> None: ...


@job(queue="post")
def deliver(user_id: int) -> None: ...


@pytest.fixture
def ears(dsn: str) -> Iterator[Ears]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Ears(conn)


async def test_an_async_session_wakes_once_it_is_committed(
    client: Client, engine: AsyncEngine, ears: Ears
) -> None:
    await client.enqueue(send.call(0))
    ears.until("mail")
    async with AsyncSession(engine) as session:
        for n in range(20):
            await client.enqueue(deliver.call(n), conn=session)
        await client.signal((await client.start(orders, 1, conn=session)).id, "paid", conn=session)
        await session.rollback()
        assert ears.heard() == []
        async with session.begin_nested():
            await client.enqueue(deliver.call(1), conn=session)
        savepoint = await session.begin_nested()
        await client.start(orders, 1, conn=session)
        await savepoint.rollback()
        assert ears.heard() == []
        await session.commit()
        await asyncio.to_thread(ears.until, "post")
        await session.execute(sqlalchemy.text("select 1"))
        await session.commit()
    assert len(await client.list()) == 2


async def test_scoped_sessions_are_sessions(client: Client, engine: AsyncEngine) -> None:
    scoped = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
    kept = await client.start(orders, 1, conn=scoped)
    await scoped.commit()
    await client.start(orders, 2, conn=scoped)
    await scoped.remove()
    assert [run.id for run in await client.list()] == [kept.id]


async def test_a_connection_of_sqlalchemy_has_postgres_wake(
    client: Client, engine: AsyncEngine, ears: Ears
) -> None:
    async with engine.begin() as conn:
        await client.enqueue(deliver.call(1), conn=conn)
        assert ears.heard() == []
    assert ears.heard() == ["post"]


def test_a_blocking_session_wakes_once_it_is_committed(
    sync_client: SyncClient, sync_engine: sqlalchemy.Engine, ears: Ears
) -> None:
    with Session(sync_engine) as session:
        for n in range(20):
            sync_client.enqueue(deliver.call(n), conn=session)
        session.rollback()
        with session.begin_nested():
            sync_client.enqueue(send.call(1), conn=session)
            with pytest.raises(Conflict):
                for name in ("orders", "others"):
                    sync_client.start(single(name), 1, key="k", conn=session)
        assert ears.heard() == []
        session.commit()
        assert sorted(ears.heard()) == ["mail", "orders"]
        session.execute(sqlalchemy.text("select 1"))
        session.commit()
        assert ears.heard() == []
    scoped = scoped_session(sessionmaker(sync_engine))
    sync_client.enqueue(deliver.call(7), conn=scoped)
    scoped.commit()
    assert ears.heard() == ["post"]
    scoped.remove()
    with sync_engine.begin() as conn:
        sync_client.enqueue(deliver.call(1), conn=conn)
        assert ears.heard() == []
    assert ears.heard() == ["post"]
    assert len(sync_client.list()) == 4


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    """A connection as Django makes it."""
    given = conninfo_to_dict(dsn)
    database: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        **{
            name: str(given.get(name.lower()) or "")
            for name in ("HOST", "PORT", "USER", "PASSWORD")
        },
        "NAME": given["dbname"],
    }
    if not django_settings.configured:
        django_settings.configure(DATABASES={"default": database}, USE_TZ=True)
        django.setup()
    connections = django_db.connections
    connections.settings["default"] = connections.configure_settings({"default": database})[
        "default"
    ]
    connections["default"] = connections.create_connection("default")
    yield connections["default"]
    connections["default"].close()


@pytest.fixture(params=[False, True], ids=["client side", "server side"])
def binding(connection: Any, request: pytest.FixtureRequest) -> Any:
    """Django fills parameters in by itself, unless it is told to leave that to the server."""
    connection.settings_dict["OPTIONS"] = {"server_side_binding": request.param}
    return connection


def test_a_transaction_of_django_decides(sync_client: SyncClient, binding: Any, ears: Ears) -> None:
    connection, transaction = django_db.connection, django_db.transaction
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        sync_client.start(orders, 1, key="k", conn=connection)
        sync_client.enqueue_many([send.call(n) for n in range(1500)], conn=connection)
        raise ZeroDivisionError
    assert sync_client.list() == []
    assert ears.heard() == []
    with transaction.atomic():
        run = sync_client.start(orders, 1, key="k", conn=connection, tags=["dj"])
        sync_client.signal("k", "paid", {"amount": 1}, conn=connection)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            sync_client.enqueue(send.call(1), conn=connection)
            raise ZeroDivisionError
        with pytest.raises(Conflict):
            sync_client.start(single("others"), 1, key="k", conn=connection)
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from pgflow.runs where tags = '{dj}'")
            assert cursor.fetchone() == (1,)
        assert sync_client.list() == []
        assert ears.heard() == []
    assert ears.heard() == ["orders"]
    assert [each.id for each in sync_client.list()] == [run.id]
    assert [each.payload for each in run.signals()] == [{"amount": 1}]
    sync_client.enqueue(send.call(1), conn=connection)  # outside of atomic: at once
    assert ears.heard() == ["mail"]


async def test_a_connection_of_django_is_for_the_blocking_client(
    client: Client, connection: Any
) -> None:
    with pytest.raises(TypeError, match=r"blocking ones go with Client\.sync"):
        await client.start(orders, 1, conn=connection)


async def test_postgres_wakes_for_drivers_without_a_hook(
    client: Client, dsn: str, ears: Ears
) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        await client.enqueue(send.call(1), conn=conn)
        assert ears.heard() == []
    assert ears.heard() == ["mail"]
