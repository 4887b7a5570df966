"""Databases to throw away: clones of a migrated one, made in milliseconds."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import re
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from stepwell.db import migrate
from stepwell.errors import StepwellError

Prepare = Callable[[str], Any]

LOCK = "select pg_advisory_lock(hashtext(%s))"
LOCK_SHARED = "select pg_advisory_lock_shared(hashtext(%s))"
TRY_LOCK = "select pg_try_advisory_lock(hashtext(%s))"
UNLOCK = "select pg_advisory_unlock(hashtext(%s))"
UNLOCK_SHARED = "select pg_advisory_unlock_shared(hashtext(%s))"
NAMES = "select datname from pg_database"
SYNCS = "select current_setting('fsync')::boolean"
ON_IT = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where datname = %s and usename = current_user and backend_type = 'client backend'"
)
# copying files wants the disk to be in step twice; the quicker one where nobody waits for it
BY_FILES: LiteralString = "create database {} template {} encoding 'UTF8' strategy file_copy"
BY_LOG: LiteralString = "create database {} template {} encoding 'UTF8' strategy wal_log"
NEW: LiteralString = "create database {} template {} encoding 'UTF8'"
# only the empty one can be copied into another encoding
SOURCE = """
    select case pg_encoding_to_char(encoding) when 'UTF8' then 'template1' else 'template0' end
    from pg_database where datname = 'template1'
"""
DROP: LiteralString = "drop database if exists {} with (force)"
LEAVING = 1.0  # seconds
TEST_RUN = "PYTEST_XDIST_TESTRUNUID"  # one word for all processes of a test run


class Databases:
    """Makes databases on one server and drops them. What a process left that was killed is
    dropped by the next one: each holds a lock under its mark for as long as it lives. A lock is
    seen within one database only: which one is in every name, and no other is looked at.

    `prepare` is called with the address of the template before anything is cloned from it. That
    template lasts as long as the test run, and the processes of one run share it.
    """

    def __init__(self, maintenance: str, prepare: Prepare | None = None) -> None:
        self._maintenance = maintenance
        self._prepare = prepare
        self._conn = self._connected()
        self._home = home_of(self._conn.info.dbname)
        self._mark = f"stepwell_kit_{self._home}_{uuid4().hex[:12]}"
        own = digest_of(schema_digest(), *run_of(self._mark))
        self._own = f"stepwell_own_{self._home}_{own}"
        self._number = itertools.count(1)
        self._conn.execute(LOCK, [self._mark])
        self._sweep()
        self._janitor = ThreadPoolExecutor(1, "stepwell-databases")
        self._taking = Lock()
        self._spare: Future[str] | None = None
        self._asked = False

    @contextmanager
    def fresh(self) -> Generator[str]:
        """The dsn of a database of one's own with the schema in it, dropped afterwards."""
        name = self._take()
        try:
            yield self._dsn(name)
        finally:
            self._drop(name)

    def close(self) -> None:
        """Drop what is left."""
        self._janitor.shutdown()
        if self._spare is not None:
            with suppress(psycopg.Error):  # perhaps it was never made
                self._conn.execute(named(DROP, self._spare.result()))
        if self._prepare is not None:
            with suppress(psycopg.Error):
                self._conn.execute(UNLOCK_SHARED, [self._own])
                if self._can_lock(self._own):  # nobody else is on it
                    self._conn.execute(named(DROP, self._own))
        self._conn.close()
        if "_second" in self.__dict__:
            self._second.close()

    def _take(self) -> str:
        """One that is there already, if somebody asked before: who asks twice asks again."""
        with self._taking:
            template = self._template
            spare, self._spare = self._spare, None
            if self._asked:
                self._spare = self._janitor.submit(self._make_spare, template)
            self._asked = True
        if spare is not None:
            with suppress(psycopg.Error):
                return spare.result()
        return self._clone(self._conn, template)

    def _make_spare(self, template: str) -> str:
        return self._clone(self._second, template)

    def _drop(self, name: str) -> None:
        """Where somebody is still on it Postgres looks again only after a tenth of a second."""
        emptied(self._conn, name)
        self._conn.execute(named(DROP, name))

    def _clone(self, conn: psycopg.Connection, template: str) -> str:
        name = f"{self._mark}_{next(self._number)}"
        conn.execute(named(self._by, name, template))
        return name

    @cached_property
    def _second(self) -> psycopg.Connection:
        """The janitor's connection."""
        return self._connected()

    @cached_property
    def _by(self) -> LiteralString:
        row = self._conn.execute(SYNCS).fetchone()
        return BY_LOG if row is None or row[0] else BY_FILES

    @cached_property
    def _template(self) -> str:
        """A database of this role's with the schema of this very code; the first process that asks
        makes it."""
        code = digest_of(schema_digest(), self._conn.info.user)
        plain = f"stepwell_template_{self._home}_{code}"
        self._have(plain, None, lambda dsn: aside(asyncio.run, migrated(dsn)))
        if self._prepare is None:
            return plain
        self._conn.execute(LOCK_SHARED, [self._own])
        self._have(self._own, plain, self._call_prepare)
        return self._own

    def _have(self, name: str, template: str | None, fill: Callable[[str], None]) -> None:
        part = f"part_of_{name}"
        with self._connected() as conn:
            conn.execute(LOCK, [part])
            if name in names_on(conn):
                return
            conn.execute(named(DROP, part))
            conn.execute(named(self._by, part, template or source_of(conn)))
            fill(self._dsn(part))
            emptied(conn, part)  # a pool of theirs may still be there
            conn.execute(named("alter database {} rename to {}", part, name))

    def _call_prepare(self, dsn: str) -> None:
        prepare: Any = self._prepare
        try:
            if inspect.iscoroutinefunction(prepare):
                aside(asyncio.run, prepare(dsn))
            else:
                aside(prepare, dsn)
        except psycopg.Error as error:  # ours would mean that there is no server
            raise StepwellError(f"what is to be in the template failed: {error}") from error

    def _sweep(self) -> None:
        """What lives by a lock that nobody holds is nobody's."""
        kept = kept_by(self._home)
        for found in filter(None, map(kept.fullmatch, names_on(self._conn))):
            mark = found[1] or found[2] or found[3]
            if mark != self._mark and self._can_lock(mark):
                self._conn.execute(named(DROP, found[0]))
                self._conn.execute(UNLOCK, [mark])

    def _can_lock(self, mark: str) -> bool:
        row = self._conn.execute(TRY_LOCK, [mark]).fetchone()
        return row is not None and row[0]

    def _connected(self) -> psycopg.Connection:
        return connected(self._maintenance)

    def _dsn(self, name: str) -> str:
        return make_conninfo(self._maintenance, dbname=name)


def made_anew(maintenance: str, name: str) -> None:
    """An empty database of that name, in place of one that may be there."""
    with connected(maintenance) as conn:
        conn.execute(named(DROP, name))
        conn.execute(named(NEW, name, source_of(conn)))


def connected(maintenance: str) -> psycopg.Connection:
    """To whatever database; names come as text also where it is not UTF8."""
    return psycopg.connect(maintenance, autocommit=True, client_encoding="utf8")


def source_of(conn: psycopg.Connection) -> str:
    """What a new database is a copy of: that of the server's people, if it is UTF8."""
    row = conn.execute(SOURCE).fetchone()
    return row[0] if row else "template0"


def emptied(conn: psycopg.Connection, name: str) -> None:
    """End who is on it, and wait a moment until they are gone."""
    deadline = time.monotonic() + LEAVING
    while conn.execute(ON_IT, [name]).fetchone() and time.monotonic() < deadline:
        time.sleep(0.002)


def names_on(conn: psycopg.Connection) -> list[str]:
    return [name for (name,) in conn.execute(NAMES).fetchall()]


def home_of(database: str) -> str:
    """Short: names have 63 letters at most."""
    return digest_of(database)[:6]


def kept_by(home: str) -> re.Pattern[str]:
    """A clone, a template with tables of theirs, one that is being made: each by what keeps it."""
    return re.compile(
        rf"(stepwell_kit_{home}_[0-9a-f]{{12}})_\d+|(stepwell_own_{home}_[0-9a-f]{{12}})"
        rf"|(part_of_stepwell_(?:own|template)_{home}_[0-9a-f]{{12}})"
    )


def run_of(mark: str) -> tuple[str, str]:
    """What the processes of one test run have in common; a process alone has its mark."""
    return os.environ.get(TEST_RUN) or mark, os.getcwd()


def digest_of(*words: str) -> str:
    return sha256("\n".join(words).encode()).hexdigest()[:12]


def schema_digest() -> str:
    scripts = "".join(script.checksum for script in migrate.migrations())
    return sha256(f"{migrate.LIBRARY}{scripts}{migrate.functions_digest()}".encode()).hexdigest()


def aside(function: Callable[[Any], Any], argument: Any) -> None:
    """Call it in a thread: there may be an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(function, argument).result()


async def migrated(dsn: str) -> None:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await migrate.migrate(conn)


def named(statement: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))
