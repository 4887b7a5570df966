"""One connection that comes back: what a worker talks through for as long as it lives."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection

from stepwell.db.call import Call, Row
from stepwell.db.connect import connect_options, raise_if_hopeless
from stepwell.observe.emit import emit
from stepwell.observe.events import DatabaseBack, DatabaseLost

Answer = TypeVar("Answer")
Use = Callable[[AsyncConnection[Any]], Awaitable[Answer]]

LONGEST_PAUSE = 2.0


class Outage:
    """Tells once that the database is gone and once that it is back, however many links notice."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.over = -math.inf  # when the last one ended
        self.links: WeakSet[Link] = WeakSet()  # all that would notice

    def began(self, error: BaseException) -> None:
        if self.since is None:
            self.since = time.monotonic()
            emit(DatabaseLost(str(error).strip() or type(error).__name__))

    def ended(self, asked: float) -> None:
        """What was asked at that time was answered. An answer that was on its way when the database
        went says nothing of now."""
        if self.since is not None and asked >= self.since:
            self.over = time.monotonic()
            emit(DatabaseBack(self.over - self.since))
            self.since = None


class Link:
    """Opened when first used, opened again when broken. Calls on it take turns."""

    def __init__(self, dsn: str, outage: Outage, connect_timeout: float = 10) -> None:
        self._options = connect_options(dsn, connect_timeout, "stepwell worker")
        self._outage = outage
        outage.links.add(self)
        self._conn: AsyncConnection[Any] | None = None
        self._opened = math.inf
        self._connecting = asyncio.Lock()

    async def run(self, call: Call[Row]) -> list[Row]:
        """Run a call that may be repeated, however long the database is away."""
        return await self.keep(call.on)

    async def keep(self, use: Use[Answer]) -> Answer:
        """Use the connection; when it breaks, connect again and repeat, with growing pauses."""
        pause = 0.05
        while True:
            try:
                return await self.once(use)
            except psycopg.OperationalError as error:
                raise_if_hopeless(error)
                if self.broken and not self._left_over():
                    self._outage.began(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def once(self, use: Use[Answer]) -> Answer:
        """Use the connection once; a broken one is dropped, so that the next use connects."""
        asked = time.monotonic()
        try:
            answer = await use(await self._connected())
        except psycopg.OperationalError:
            if self._conn is None or self._conn.closed:
                await self.close()
            raise
        except psycopg.errors.ReadOnlySqlTransaction as error:  # after a failover: find the primary
            await self.close()
            raise psycopg.OperationalError(str(error)) from error
        self._outage.ended(asked)
        return answer

    @property
    def broken(self) -> bool:
        return self._conn is None or self._conn.closed

    def _left_over(self) -> bool:
        """It broke in an outage that is over by now, and has been told."""
        opened, self._opened = self._opened, math.inf
        return opened < self._outage.over

    async def close(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def _connected(self) -> AsyncConnection[Any]:
        async with self._connecting:
            if self._conn is None or self._conn.closed:
                self._conn = await AsyncConnection.connect(**self._options)
                self._opened = time.monotonic()
            return self._conn
