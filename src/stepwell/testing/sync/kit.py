"""The kit for tests that are not async."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import AbstractContextManager
from contextvars import copy_context
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from psycopg import Connection

from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.settings import Settings
from stepwell.testing.clock import SyncClockClient, SyncClockPool
from stepwell.testing.kit import Kit
from stepwell.testing.sync.asking import SyncAsking
from stepwell.testing.tally import MAX_STEPS, MAX_STEPS_ON_THE_WAY, Tally

Answer = TypeVar("Answer")


class SyncKit(SyncAsking):
    """What Kit is, with blocking calls, for tests of unittest or pytest that are not async; so is
    its `client`. Handlers may be of either kind."""

    _pool: SyncClockPool

    def __init__(
        self,
        app: Stepwell | Iterable[Flow[Any, Any]],
        dsn: str | None = None,
        *,
        now: datetime | None = None,
    ) -> None:
        self._kit = Kit(app, dsn, now=now)
        self.clock = self._kit.clock
        self._so_far = Tally()
        self._loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def __enter__(self) -> Self:
        refuse_in_a_loop()
        try:
            self._wait(self._kit.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        settings = Settings(dsn=self._kit.dsn)
        self._pool = SyncClockPool(settings.dsn, self.clock, "stepwell testing")
        self.client = SyncClockClient(settings, self._pool)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            self.client.close()
            return self._wait(self._kit.__aexit__(kind, error, trace))
        finally:
            self._loop.close()

    @property
    def dsn(self) -> str:
        """The address of its database, while it is open."""
        return self._kit.dsn

    def drain(self, max_steps: int = MAX_STEPS, *, queue: str | None = None) -> Tally:
        """Run all that is ready now, messages of queues too, and what comes of it, until nothing
        is; with `queue`, what is in that queue. NeverQuiet when that takes more than `max_steps`.
        """
        return self._counted(self._wait(self._kit.drain(max_steps, queue=queue)))

    def advance_to(
        self, moment: datetime, *, drain: bool = True, max_steps: int = MAX_STEPS_ON_THE_WAY
    ) -> Tally:
        """Let time pass until a moment, as `advance` does."""
        call = self._kit.advance_to(moment, drain=drain, max_steps=max_steps)
        return self._counted(self._wait(call))

    def next_due(self) -> datetime | None:
        """When the next timer, deadline, schedule or message is due; None: nothing waits for its
        time."""
        return self._wait(self._kit.next_due())

    def prune(self) -> int:
        """Let go of runs that ended longer ago than they are kept, through the app's archive where
        it has one, as workers do; how many went. What the archive raises is raised here."""
        return self._wait(self._kit.prune())

    def connection(self) -> AbstractContextManager[Connection[Any]]:
        """Borrow a connection of psycopg that goes by this clock."""
        return self._pool.connection()

    def _wait(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """What the test's context says now is what handlers see."""
        return self._loop.run(call, context=copy_context())


def refuse_in_a_loop() -> None:
    """Blocking calls would stop the loop of an async test."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("SyncKit is for tests that are not async; in this one: async with Kit(app)")
