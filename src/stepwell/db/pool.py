"""Connections that are opened when needed and reused; the only retry on connection loss.

Every call of a client may be repeated: starts carry run ids made by the client and signals dedup
keys, and steering a run twice is doing it once. So a call whose connection broke is simply run
again.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from stepwell.db.call import Call, Row
from stepwell.db.connect import connect_options, hopeless, passing
from stepwell.db.theirs import Theirs, on_theirs, together
from stepwell.errors import DatabaseUnavailable

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0
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


class Pool:
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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, call: Call[Row], /, conn: Theirs | None = None) -> list[Row]:
        """Run a call that may be repeated; with `conn` once, inside the caller's transaction."""
        return (await self.run_all([call], conn))[0]

    async def run_all(
        self, calls: Sequence[Call[Row]], conn: Theirs | None = None
    ) -> list[list[Row]]:
        """Run calls in one transaction: all of them count, or none does."""
        if not calls:
            return []
        if conn is not None:
            return await on_theirs(calls, conn)
        patience = Patience(self._timeout)
        while True:
            try:
                async with self.connection() as ours:
                    return await together(calls, ours)
            except psycopg.OperationalError as error:
                pause = patience.after(error)
                if pause:
                    await asyncio.sleep(pause)

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


class Patience:
    """How long one call tries, from when it first failed: pauses grow, the deadline ends them."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline: float | None = None
        self._pause = 0.0

    def after(self, error: psycopg.OperationalError) -> float:
        """The pause before the next try (none before the second); raises when there is none."""
        if not passing(error):
            raise error
        now = time.monotonic()
        self._deadline = now + self._timeout if self._deadline is None else self._deadline
        if hopeless(error) or now + self._pause > self._deadline:
            raise DatabaseUnavailable(str(error).strip()) from error
        pause = self._pause
        self._pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        return pause * random.uniform(0.75, 1.25)
