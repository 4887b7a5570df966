"""The kit for tests that are not async."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import AbstractContextManager
from contextvars import copy_context
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from psycopg import Connection

from stepwell.client.identity import Target
from stepwell.client.reading import RunInfo, StepInfo
from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.settings import Settings
from stepwell.testing.clock import SyncClockClient, SyncClockPool
from stepwell.testing.expect import SyncExpect
from stepwell.testing.kit import MAX_STEPS, MAX_STEPS_ON_THE_WAY, Kit
from stepwell.testing.tally import Tally

Answer = TypeVar("Answer")


class SyncKit:
    """What Kit is, with blocking calls, for tests of unittest or pytest that are not async; so is
    its `client`. Handlers may be of either kind."""

    client: SyncClockClient
    _pool: SyncClockPool

    def __init__(
        self,
        app: Stepwell | Iterable[Flow[Any, Any]],
        dsn: str | None = None,
        *,
        now: datetime | None = None,
    ) -> None:
        self._kit = Kit(app, dsn, now=now)
        self._loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def __enter__(self) -> Self:
        refuse_in_a_loop()
        try:
            self._wait(self._kit.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        settings = Settings(dsn=self._kit.dsn)
        self._pool = SyncClockPool(settings.dsn, self._kit.clock, "stepwell testing")
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
    def now(self) -> datetime:
        """What time it is."""
        return self._kit.now

    def drain(self, max_steps: int = MAX_STEPS, *, queue: str | None = None) -> Tally:
        return self._wait(self._kit.drain(max_steps, queue=queue))

    def advance(
        self,
        by: timedelta = timedelta(),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        drain: bool = True,
        max_steps: int = MAX_STEPS_ON_THE_WAY,
    ) -> Tally:
        more = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self.advance_to(self.now + by + more, drain=drain, max_steps=max_steps)

    def advance_to(
        self, moment: datetime, *, drain: bool = True, max_steps: int = MAX_STEPS_ON_THE_WAY
    ) -> Tally:
        return self._wait(self._kit.advance_to(moment, drain=drain, max_steps=max_steps))

    def next_due(self) -> datetime | None:
        return self._wait(self._kit.next_due())

    def run(self, target: Target) -> RunInfo:
        return self._wait(self._kit.run(target))

    def waiting_for(self, target: Target) -> list[StepInfo]:
        return self._wait(self._kit.waiting_for(target))

    def prune(self) -> int:
        return self._wait(self._kit.prune())

    def expect(self, target: Target) -> SyncExpect:
        return SyncExpect(self._kit.expect(target), self._wait)

    def assert_ran(self, step: Any, times: int | None = None) -> None:
        __tracebackhide__ = True
        self._kit.assert_ran(step, times)

    def connection(self) -> AbstractContextManager[Connection[Any]]:
        """Borrow a connection of psycopg that goes by this clock."""
        return self._pool.connection()

    def _wait(self, call: Coroutine[Any, Any, Answer]) -> Answer:
        """What the test's context says now is what handlers see."""
        __tracebackhide__ = True
        try:
            return self._loop.run(call, context=copy_context())
        except AssertionError as error:  # frames of asyncio say nothing to who reads it
            raise error.with_traceback(None) from None


def refuse_in_a_loop() -> None:
    """Blocking calls would stop the loop of an async test."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("SyncKit is for tests that are not async; in this one: async with Kit(app)")
