"""A clock that stands still until a test moves it, and connections that go by it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, Connection

from stepwell.client.client import Client
from stepwell.client.sync.client import SyncClient
from stepwell.db.clock import move_clock
from stepwell.db.pool import Pool
from stepwell.db.sync.pool import SyncPool
from stepwell.settings import Settings


@dataclass(slots=True)
class Clock:
    """What time it is for everybody who was given this clock."""

    now: datetime


class ClockPool(Pool):
    """A pool whose connections are told the time when they are borrowed."""

    def __init__(self, dsn: str, clock: Clock, application_name: str) -> None:
        super().__init__(dsn, application_name=application_name)
        self.dsn = dsn
        self._clock = clock
        self._told: WeakKeyDictionary[AsyncConnection[Any], datetime] = WeakKeyDictionary()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection[Any]]:
        async with super().connection() as conn:
            await self.tell(conn)
            yield conn

    async def tell(self, conn: AsyncConnection[Any]) -> None:
        """What time it is, where that is not known yet."""
        now = self._clock.now
        if self._told.get(conn) != now:
            await move_clock(now).on(conn)
            self._told[conn] = now


class ClockClient(Client):
    """The client, on such a pool."""

    def __init__(self, settings: Settings, pool: ClockPool) -> None:
        self._clock_pool = pool
        super().__init__(settings=settings)

    def _open_pool(self, settings: Settings) -> Pool:
        return self._clock_pool


class SyncClockPool(SyncPool):
    """The same for connections that block."""

    def __init__(self, dsn: str, clock: Clock, application_name: str) -> None:
        super().__init__(dsn, application_name=application_name)
        self._clock = clock

    @contextmanager
    def connection(self) -> Generator[Connection[Any]]:
        with super().connection() as conn:
            move_clock(self._clock.now).on_sync(conn)
            yield conn


class SyncClockClient(SyncClient):
    """The blocking client, on such a pool."""

    def __init__(self, settings: Settings, pool: SyncClockPool) -> None:
        self._clock_pool = pool
        super().__init__(settings=settings)

    def _open_pool(self, settings: Settings) -> SyncPool:
        return self._clock_pool
