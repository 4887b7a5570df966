"""Clients, and engines of SQLAlchemy on either driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from stepwell import Client, SyncClient


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def sync_client(dsn: str) -> Iterator[SyncClient]:
    with Client.sync(dsn) as client:
        yield client


@pytest.fixture(params=["asyncpg", "psycopg"])
async def engine(dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url_of(dsn, request.param), poolclass=NullPool)
    yield engine
    await engine.dispose()


@pytest.fixture
def sync_engine(dsn: str) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(url_of(dsn, "psycopg"), poolclass=NullPool)
    yield engine
    engine.dispose()


def url_of(dsn: str, driver: str) -> sqlalchemy.URL:
    given = conninfo_to_dict(dsn)
    host = str(given.get("host") or "localhost")
    return sqlalchemy.URL.create(
        f"postgresql+{driver}",
        username=str(given["user"]),
        password=str(given["password"]) if given.get("password") else None,
        host=None if host.startswith("/") else host,
        port=None if host.startswith("/") else int(given.get("port") or 5432),
        database=str(given["dbname"]),
        query={"host": host, "port": str(given.get("port") or 5432)} if host[0] == "/" else {},
    )
