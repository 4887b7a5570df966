"""A connection that the caller brought: of psycopg, asyncpg, SQLAlchemy or Django. What is called
on it is part of the caller's transaction. None of the last three is imported here."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from inspect import iscoroutinefunction
from itertools import count
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus

from stepwell.db.call import Call, Row, explained
from stepwell.db.their_commit import is_of

Answer = TypeVar("Answer")


class AsyncpgConnection(Protocol):
    """A connection of asyncpg, also one that its pool lends."""

    def is_in_transaction(self) -> bool: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...
    async def fetch(self, query: str, *args: Any) -> list[Any]: ...
    async def execute(self, query: str, /) -> Any: ...


class SqlalchemyAsyncSession(Protocol):
    """A session of sqlalchemy.ext.asyncio."""

    def connection(self) -> Awaitable[SqlalchemyAsyncConnection]: ...


class SqlalchemyAsyncConnection(Protocol):
    """A connection of sqlalchemy.ext.asyncio."""

    def get_raw_connection(self) -> Awaitable[Any]: ...
    def exec_driver_sql(self, statement: str, /) -> Awaitable[Any]: ...


class SqlalchemySession(Protocol):
    """A session of sqlalchemy.orm."""

    def connection(self) -> SqlalchemyConnection: ...


class SqlalchemyConnection(Protocol):
    """A connection of sqlalchemy."""

    @property
    def connection(self) -> Any: ...
    def exec_driver_sql(self, statement: str, /) -> Any: ...


class DjangoConnection(Protocol):
    """A connection of Django, as in django.db.connections["default"]."""

    def ensure_connection(self) -> None: ...
    def on_commit(self, func: Any, /) -> None: ...


class DjangoProxy(Protocol):
    """django.db.connection: what stands for the connection of the thread."""

    def __getattr__(self, item: str, /) -> Any: ...


Theirs = (
    AsyncConnection[Any] | AsyncpgConnection | SqlalchemyAsyncSession | SqlalchemyAsyncConnection
)
TheirsSync = (
    Connection[Any] | SqlalchemySession | SqlalchemyConnection | DjangoConnection | DjangoProxy
)


async def on_theirs(calls: Sequence[Call[Row]], conn: Theirs) -> list[list[Row]]:
    """On a connection of the caller: never commits what the caller has begun, and leaves it as it
    was when a call fails."""
    raw = await driver_connection(conn)
    if isinstance(raw, AsyncConnection):
        psycopg_conn = cast(AsyncConnection[Any], raw)
        if alone(psycopg_conn):
            return await together(calls, psycopg_conn)
        async with savepoint(psycopg_conn):
            return [await call.on(psycopg_conn) for call in calls]
    if not is_asyncpg(raw):
        raise TypeError(
            f"conn is {named(conn)}; Client wants a psycopg.AsyncConnection, one of asyncpg, "
            "or an AsyncSession or AsyncConnection of SQLAlchemy on either driver "
            "(blocking ones go with Client.sync)"
        )
    async with savepoint(raw) if raw.is_in_transaction() else raw.transaction():
        return [await fetched(call, raw) for call in calls]


def on_theirs_sync(calls: Sequence[Call[Row]], conn: TheirsSync) -> list[list[Row]]:
    """On a connection of the caller: never commits what the caller has begun, and leaves it as it
    was when a call fails."""
    raw = driver_connection_sync(conn)
    if not isinstance(raw, Connection):
        raise TypeError(
            f"conn is {named(conn)}; Client.sync wants a psycopg.Connection, a connection of "
            "Django on psycopg 3, or a Session or Connection of SQLAlchemy on it "
            "(postgresql+psycopg://); asynchronous ones go with Client"
        )
    psycopg_conn = cast(Connection[Any], raw)
    if alone(psycopg_conn):
        return together_sync(calls, psycopg_conn)
    with savepoint_sync(psycopg_conn):
        return [call.on_sync(psycopg_conn) for call in calls]


async def together(calls: Sequence[Call[Row]], conn: AsyncConnection[Any]) -> list[list[Row]]:
    if len(calls) == 1:
        return [await calls[0].on(conn)]
    async with conn.transaction():
        return [await call.on(conn) for call in calls]


def together_sync(calls: Sequence[Call[Row]], conn: Connection[Any]) -> list[list[Row]]:
    if len(calls) == 1:
        return [calls[0].on_sync(conn)]
    with conn.transaction():
        return [call.on_sync(conn) for call in calls]


@asynccontextmanager
async def savepoint(conn: AsyncConnection[Any] | AsyncpgConnection) -> AsyncGenerator[None]:
    """What fails inside undoes only what was done inside: the transaction goes on. In psycopg the
    first statement begins it."""
    await conn.execute("savepoint stepwell")
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the connection is gone: the first error says why
            await conn.execute("rollback to savepoint stepwell")
            await conn.execute("release savepoint stepwell")
        raise
    await conn.execute("release savepoint stepwell")


@contextmanager
def savepoint_sync(conn: Connection[Any]) -> Generator[None]:
    conn.execute("savepoint stepwell")
    try:
        yield
    except BaseException:
        with suppress(Exception):
            conn.execute("rollback to savepoint stepwell")
            conn.execute("release savepoint stepwell")
        raise
    conn.execute("release savepoint stepwell")


def alone(conn: AsyncConnection[Any] | Connection[Any]) -> bool:
    """True when each statement would be a transaction of its own."""
    return conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE


async def driver_connection(conn: Any) -> Any:
    """What SQLAlchemy has inside, with its transaction begun; anything else as it is."""
    if not is_of(conn, "sqlalchemy"):
        return conn
    if not hasattr(conn, "get_raw_connection"):  # a session
        if not hasattr(conn, "connection") or not iscoroutinefunction(conn.connection):
            return conn
        conn = await conn.connection()
    raw = (await conn.get_raw_connection()).driver_connection
    if is_asyncpg(raw) and not raw.is_in_transaction():
        await conn.exec_driver_sql("select 1")  # SQLAlchemy begins with its own first statement
    return raw


def driver_connection_sync(conn: Any) -> Any:
    if is_of(conn, "django") and hasattr(conn, "ensure_connection"):
        conn.ensure_connection()
        return conn.connection
    if not is_of(conn, "sqlalchemy") or hasattr(conn, "get_raw_connection"):
        return conn
    if not hasattr(conn, "exec_driver_sql"):  # a session
        if not hasattr(conn, "connection") or iscoroutinefunction(conn.connection):
            return conn
        conn = conn.connection()
    return conn.connection.driver_connection


def is_asyncpg(value: object) -> bool:
    return is_of(value, "asyncpg") and hasattr(value, "is_in_transaction")


def named(conn: object) -> str:
    name = f"{type(conn).__module__.partition('.')[0]}.{type(conn).__qualname__}"
    is_engine = name.startswith("sqlalchemy.") and name.endswith("Engine")
    return f"{name} (pass a connection or a session of it)" if is_engine else name


# --- asyncpg ---


async def fetched(call: Call[Row], conn: AsyncpgConnection) -> list[Row]:
    """The same call in asyncpg's dialect; its errors become ours as those of psycopg do."""
    try:
        rows = await conn.fetch(numbered(call.sql), *call.args)
    except Exception as error:
        if not is_of(error, "asyncpg"):
            raise
        if ours := explained(*said_by(error)):
            raise ours from error
        raise
    return [call.row(**{name: plain(value) for name, value in row.items()}) for row in rows]


def numbered(sql: str) -> str:
    """`%s` as $1, $2, …"""
    places = count(1)
    return re.sub("%[sbt]", lambda _: f"${next(places)}", sql)


def said_by(error: Any) -> tuple[str | None, str, str | None]:
    """SQLSTATE, message and hint."""
    return getattr(error, "sqlstate", None), str(error.args[0]), getattr(error, "hint", None)


def plain(value: Any) -> Any:
    """asyncpg has a class of its own for uuids."""
    return UUID(int=value.int) if isinstance(value, UUID) else value
