"""Connections that are opened when needed and reused."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from stepwell.db.connect import connect_options
from stepwell.db.repeating import Repeating

LONGEST_IDLE = 300.0


@dataclass(slots=True)
class Idle:
    """A connection at rest. The last one returned is the first one taken."""

    conn: AsyncConnection[Any]
    since: float


@dataclass(slots=True)
class Home:
    """What belongs to one event loop of one process; another one gets connections of its own."""

    process: int
    loop: asyncio.AbstractEventLoop
    slots: asyncio.Semaphore
    idle: list[Idle] = field(default_factory=list[Idle])


class Pool(Repeating):
    """At most `max_size` connections to one database. Opened on first use, in whichever event
    loop that is; a broken one is replaced. `timeout` is how long a call waits for Postgres to
    come back before it raises DatabaseUnavailable."""

    def __init__(
        self,
        dsn: str = "",
        *,
        max_size: int = 10,
        timeout: float = 10.0,
        application_name: str = "stepwell",
    ) -> None:
        self._options = connect_options(dsn, timeout, application_name)
        self._max_size = max_size
        self._timeout = timeout
        self._here: Home | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection[Any]]:
        """Borrow a connection, for as long as there are fewer than `max_size` others out."""
        home = self._home()
        async with home.slots:
            while home.idle and home.idle[-1].conn.closed:
                home.idle.pop()
            conn = home.idle.pop().conn if home.idle else await self._connect()
            try:
                yield conn
            finally:
                await self._take_back(conn, home)

    async def close(self) -> None:
        """Close what is at rest. Using the pool again opens it again."""
        home, self._here = self._here, None
        if home is not None:
            drop(home)

    async def _connect(self) -> AsyncConnection[Any]:
        return await AsyncConnection.connect(**self._options)

    async def _take_back(self, conn: AsyncConnection[Any], home: Home) -> None:
        now = time.monotonic()
        if conn.closed:  # what rested meanwhile is likely to be broken too
            drop(home)
        elif home is not self._here or conn.info.transaction_status != TransactionStatus.IDLE:
            await conn.close()
        else:
            home.idle.append(Idle(conn, now))
        while home.idle and now - home.idle[0].since > LONGEST_IDLE:
            await home.idle.pop(0).conn.close()

    def _home(self) -> Home:
        loop, process = asyncio.get_running_loop(), os.getpid()
        here = self._here
        if here is None or here.loop is not loop or here.process != process:
            if here is not None:
                drop(here)
            self._here = here = Home(process, loop, asyncio.Semaphore(self._max_size))
        return here


_of_parents: list[Home] = []


def drop(home: Home) -> None:
    """Close the connections at rest; those of a parent process are its own, and left alone."""
    if home.process != os.getpid():
        _of_parents.append(home)
        return
    while home.idle:
        rested = home.idle.pop()
        rested.conn.pgconn.finish()  # close() wants the loop, which may be gone
