"""Servers for the tests, and fresh databases in milliseconds: clones of a migrated one."""

import asyncio
import itertools
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from stepwell.db.migrate import migrate
from stepwell.dev.find import system_directory
from stepwell.dev.postgres import EmbeddedPostgres

FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
    "max_prepared_transactions": "10",
}


class DatabaseServer:
    """A server on which tests make databases; all processes of one test run share it."""

    def __init__(self, maintenance: str) -> None:
        self.maintenance = maintenance
        self._number = itertools.count()

    def dsn(self, database: str) -> str:
        return make_conninfo(self.maintenance, dbname=database)

    @cached_property
    def template(self) -> str:
        """The name of a migrated database; the first process that asks makes it."""
        name = f"template_{run_id()}"
        with psycopg.connect(self.maintenance, autocommit=True) as connection:
            connection.execute("select pg_advisory_lock(hashtext('stepwell tests: template'))")
            made = connection.execute("select 1 from pg_database where datname = %s", [name])
            if made.fetchone() is None:
                self._make_template(connection, name)
        return name

    @contextmanager
    def database(self, template: str | None = None) -> Generator[str]:
        """A database of one's own, dropped afterwards."""
        name = f"test_{run_id()}_{os.getpid()}_{next(self._number)}"
        clone: LiteralString = "create database {} template {} strategy file_copy"
        self._admin.execute(_named(clone, name, template or "template1"))
        try:
            yield self.dsn(name)
        finally:
            self._admin.execute(_named("drop database if exists {} with (force)", name))

    def drop_all(self) -> None:
        """Remove what this run left behind."""
        ours = "select datname from pg_database where strpos(datname, '_' || %s) > 0"
        for (name,) in self._admin.execute(ours, [run_id()]).fetchall():
            self._admin.execute(_named("drop database if exists {} with (force)", name))

    @cached_property
    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(self.maintenance, autocommit=True)

    def close(self) -> None:
        self._admin.close()

    def _make_template(self, connection: psycopg.Connection, name: str) -> None:
        part = f"part_{name}"
        connection.execute(_named("drop database if exists {} with (force)", part))
        connection.execute(_named("create database {}", part))
        with ThreadPoolExecutor(1) as thread:  # away from any event loop of the tests
            thread.submit(asyncio.run, _migrated(self.dsn(part))).result()
        connection.execute(_named("alter database {} rename to {}", part, name))


@contextmanager
def started(home: Path, provider: str | None = None) -> Generator[DatabaseServer]:
    with EmbeddedPostgres(home, settings=FAST, provider=provider) as postgres:
        server = DatabaseServer(postgres.dsn("postgres"))
        yield server
        server.close()


@contextmanager
def of_major(major: str) -> Generator[DatabaseServer | None]:
    """The newest is the wheel's, or that of STEPWELL_TEST_DSN; an old one has to be installed."""
    home = Path(os.environ["STEPWELL_TEST_HOME"])
    if major == "18" and (dsn := os.environ.get("STEPWELL_TEST_DSN")):
        server = DatabaseServer(dsn)
        yield server
        server.close()
    elif major == "18":
        with started(home / "18") as server:
            yield server
    elif directory := system_directory(int(major)):
        with started(home / major, str(directory)) as server:
            yield server
    else:
        yield None


def run_id() -> str:
    """One word for all processes of a test run."""
    return Path(os.environ["STEPWELL_TEST_HOME"]).name.rsplit("-", 1)[-1].lower()


async def _migrated(dsn: str) -> None:
    async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
        await migrate(connection)


def _named(statement: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))
