"""Databases to throw away: clones of a migrated one, made in milliseconds."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from typing import LiteralString
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from stepwell.db import migrate

OURS = re.compile(r"(stepwell_kit_[0-9a-f]{12})_\d+")
LOCK = "select pg_advisory_lock(hashtext(%s))"
TRY_LOCK = "select pg_try_advisory_lock(hashtext(%s))"
UNLOCK = "select pg_advisory_unlock(hashtext(%s))"
NAMES = "select datname from pg_database"
CLONE: LiteralString = "create database {} template {} strategy file_copy"
DROP: LiteralString = "drop database if exists {} with (force)"


class Databases:
    """Makes databases on one server and drops them. What a process left that was killed is
    dropped by the next one: each holds a lock under its mark for as long as it lives."""

    def __init__(self, maintenance: str) -> None:
        self._maintenance = maintenance
        self._mark = f"stepwell_kit_{uuid4().hex[:12]}"
        self._number = itertools.count(1)
        self._conn = psycopg.connect(maintenance, autocommit=True)
        self._conn.execute(LOCK, [self._mark])
        self._sweep()

    @contextmanager
    def fresh(self) -> Generator[str]:
        """The dsn of a database of one's own with the schema in it, dropped afterwards."""
        name = f"{self._mark}_{next(self._number)}"
        self._conn.execute(named(CLONE, name, self._template))
        try:
            yield self._dsn(name)
        finally:
            self._conn.execute(named(DROP, name))

    def close(self) -> None:
        self._conn.close()

    @cached_property
    def _template(self) -> str:
        """A database with the schema of this very code; the first process that asks makes it."""
        name = f"stepwell_template_{schema_digest()[:12]}"
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            conn.execute(LOCK, ["stepwell_template"])
            if name not in names_on(conn):
                self._make_template(conn, name)
        return name

    def _make_template(self, conn: psycopg.Connection, name: str) -> None:
        part = f"part_of_{name}"
        conn.execute(named(DROP, part))
        conn.execute(named("create database {}", part))
        with ThreadPoolExecutor(1) as thread:  # there may be an event loop in this one
            thread.submit(asyncio.run, migrated(self._dsn(part))).result()
        conn.execute(named("alter database {} rename to {}", part, name))

    def _sweep(self) -> None:
        for found in filter(None, map(OURS.fullmatch, names_on(self._conn))):
            mark = found[1]
            if mark != self._mark and self._can_lock(mark):
                self._conn.execute(named(DROP, found[0]))
                self._conn.execute(UNLOCK, [mark])

    def _can_lock(self, mark: str) -> bool:
        row = self._conn.execute(TRY_LOCK, [mark]).fetchone()
        return row is not None and row[0]

    def _dsn(self, name: str) -> str:
        return make_conninfo(self._maintenance, dbname=name)


def names_on(conn: psycopg.Connection) -> list[str]:
    return [name for (name,) in conn.execute(NAMES).fetchall()]


def schema_digest() -> str:
    scripts = "".join(script.checksum for script in migrate.migrations())
    return sha256(f"{migrate.LIBRARY}{scripts}{migrate.functions_digest()}".encode()).hexdigest()


async def migrated(dsn: str) -> None:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await migrate.migrate(conn)


def named(statement: LiteralString, *names: str) -> sql.Composed:
    return sql.SQL(statement).format(*map(sql.Identifier, names))
