"""The connections that transactional handlers are lent: as many as such handlers run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from stepwell.db.call import Call
from stepwell.db.connect import connect_options, raise_if_hopeless
from stepwell.db.link import LONGEST_PAUSE
from stepwell.db.transaction import Trunk
from stepwell.settings import Settings

LONGEST_REST = 60.0  # seconds until a connection that nobody needs is closed
FIRST_PAUSE = 0.05

Row = TypeVar("Row")
Written = Callable[[Sequence[str], bool], None]
Prepare = Callable[[Trunk], Awaitable[None]]


@dataclass(slots=True)
class Resting:
    trunk: Trunk
    since: float


def unheard(_ready: Sequence[str], _delays: bool) -> None:
    """Nobody wants to know."""


class Transactions:
    """Opened when they are needed, closed when they are not. `written` hears of each outcome that
    committed with its writes: the queues where work became ready, and whether it arms a timer.
    `prepare` is for a connection that is about to be lent."""

    def __init__(
        self,
        settings: Settings,
        *,
        written: Written = unheard,
        prepare: Prepare | None = None,
    ) -> None:
        self.written = written
        self._prepare = prepare
        self._options: dict[str, Any] = connect_options(
            settings.dsn, settings.connect_timeout, "stepwell transaction"
        )
        self._resting: list[Resting] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self) -> Trunk:
        """A connection for one transaction, however long the database is away."""
        pause = FIRST_PAUSE
        while True:
            try:
                trunk = await self._opened()
                if self._prepare is not None:
                    await self._prepare(trunk)
                return trunk
            except psycopg.OperationalError as error:
                raise_if_hopeless(error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def give_back(self, trunk: Trunk) -> None:
        """It is at rest: the last one that came back is the first one taken."""
        if self._closed:
            await trunk.close()
        elif not trunk.closed:
            loop = asyncio.get_running_loop()
            self._resting.append(Resting(trunk, loop.time()))
            if self._sweep is None:
                self._sweep = loop.call_later(LONGEST_REST, self._close_rested)

    async def ask(self, call: Call[Row]) -> list[Row]:
        """Run a call that may be repeated, however long the database is away."""
        while True:
            trunk = await self.take()
            try:
                rows = await call.on(trunk)
                await self.give_back(trunk)
                return rows
            except psycopg.OperationalError:
                await trunk.close()
            await asyncio.sleep(FIRST_PAUSE)

    async def close(self) -> None:
        """Those that are still lent are closed when they come back."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._resting:
            await self._resting.pop().trunk.close()

    async def _opened(self) -> Trunk:
        while self._resting:
            trunk = self._resting.pop().trunk
            if not trunk.closed:
                return trunk
        return await Trunk.connect(**self._options)

    def _close_rested(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        while self._resting and loop.time() - self._resting[0].since >= LONGEST_REST:
            self._resting.pop(0).trunk.pgconn.finish()
        if self._resting:
            due = self._resting[0].since + LONGEST_REST
            self._sweep = loop.call_at(due, self._close_rested)
