"""The kit: an app in a database, a client, and a worker that works only when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from psycopg import AsyncConnection

from stepwell.compile import deploy
from stepwell.compile.schedules import deploy_schedules
from stepwell.db import migrate
from stepwell.define.app import Stepwell
from stepwell.define.flow import Flow
from stepwell.errors import StepwellError
from stepwell.settings import Settings
from stepwell.testing.asking import Asking
from stepwell.testing.clock import Clock, ClockClient, ClockPool
from stepwell.testing.database import database
from stepwell.testing.drain import Drain
from stepwell.testing.messages import Messages
from stepwell.testing.sweeping import Sweeping
from stepwell.testing.tally import MAX_STEPS, MAX_STEPS_ON_THE_WAY, Tally
from stepwell.testing.timers import Timers


class Kit(Asking):
    """An app deployed into a database: that of `dsn`, or one of its own that is dropped at the end.

    Nothing runs but in `drain` and `advance`, one handler after the other, through the claim and
    the commit of a real worker. The clock stands still, at `now` or at the time of day, until
    `advance` moves it; `client`, and all that runs, go by it.

    >>> kit = Kit(Stepwell(), now=datetime(2030, 1, 1, tzinfo=UTC))
    >>> kit.now.year
    2030
    """

    _pool: ClockPool
    _timers: Timers
    _drain: Drain
    _messages: Messages
    _sweeping: Sweeping

    def __init__(
        self,
        app: Stepwell | Iterable[Flow[Any, Any]],
        dsn: str | None = None,
        *,
        now: datetime | None = None,
    ) -> None:
        self._app = app if isinstance(app, Stepwell) else Stepwell(flows=app)
        self._dsn = dsn
        self.clock = Clock(datetime.now(UTC) if now is None else in_utc(now))
        self._lifetime = self._opened()
        self._at_work = False
        self._so_far = Tally()

    async def __aenter__(self) -> Self:
        await self._lifetime.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._lifetime.__aexit__(kind, error, trace)

    @property
    def dsn(self) -> str:
        """The address of its database, while it is open."""
        return self._pool.dsn

    async def drain(self, max_steps: int = MAX_STEPS, *, queue: str | None = None) -> Tally:
        """Run all that is ready now, messages of queues too, and what comes of it, until nothing
        is; with `queue`, what is in that queue. NeverQuiet when that takes more than `max_steps`.
        """
        with self._working():
            return self._counted(await self._settle(Tally(), max_steps, queue))

    async def advance_to(
        self, moment: datetime, *, drain: bool = True, max_steps: int = MAX_STEPS_ON_THE_WAY
    ) -> Tally:
        """Let time pass until a moment, as `advance` does."""
        moment = in_utc(moment)
        if moment < self.now:
            raise ValueError(f"it is {self.now} already, and time does not go back to {moment}")
        with self._working():
            tally = Tally()
            while True:
                if drain:
                    tally = await self._settle(tally, max_steps)
                else:
                    tally += Tally(fired=await self._timers.fire())
                due = await self.next_due()
                if due is None or due > moment:
                    break
                self.clock.now = due
            self.clock.now = moment
            return self._counted(tally)

    async def next_due(self) -> datetime | None:
        """When the next timer, deadline, schedule or message is due; None: nothing waits for its
        time."""
        due = (await self._timers.next(), await self._messages.next())
        return min((at for at in due if at is not None), default=None)

    async def prune(self) -> int:
        """Let go of runs that ended longer ago than they are kept, through the app's archive where
        it has one, as workers do; how many went. What the archive raises is raised here."""
        with self._working():
            return await self._sweeping.run()

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Borrow a connection of psycopg that goes by this clock, for transactions of your own."""
        return self._pool.connection()

    async def _settle(self, tally: Tally, max_steps: int, queue: str | None = None) -> Tally:
        """Until neither a timer nor a step that ran makes anything ready."""
        while True:
            tally += Tally(fired=await self._timers.fire())
            before = tally.steps
            if not self._messages.has(queue):
                tally = await self._drain.run(tally, max_steps, queue)
            tally = await self._messages.run(tally, max_steps, queue)
            if tally.steps == before:
                return tally

    @contextmanager
    def _working(self) -> Generator[None]:
        if self._at_work:
            raise StepwellError(
                "the kit is at work already: call drain and advance from the test, one after the "
                "other, and not from what they run"
            )
        self._at_work = True
        try:
            yield
        finally:
            self._at_work = False

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[None]:
        async with place(self._dsn) as dsn:
            settings = Settings(dsn=dsn)
            self._pool = ClockPool(dsn, self.clock, "stepwell testing")
            self._timers = Timers(self._pool, self.clock)
            self.client = ClockClient(settings, self._pool)
            self._drain = Drain(self._app, self._pool, settings, self._pool.tell)
            self._messages = Messages(self._app, self._pool, self._drain.hands)
            self._sweeping = Sweeping(self._app, self._pool, self._drain)
            async with self.client:
                await self._deploy()
                async with self._drain:
                    yield

    async def _deploy(self) -> None:
        async with self._pool.connection() as conn:
            migrate.check(await migrate.read_schema(conn))
        await deploy.deploy(self._pool, self._app)
        await deploy_schedules(self._pool, self._app.schedules)
        await self._messages.open()


@asynccontextmanager
async def place(dsn: str | None) -> AsyncGenerator[str]:
    """A database that is there, or a new one for as long as this lasts."""
    if dsn is not None:
        yield dsn
        return
    fresh = database()
    made = await asyncio.to_thread(fresh.__enter__)  # it may have to start a server
    try:
        yield made
    finally:
        await asyncio.to_thread(fresh.__exit__, None, None, None)


def in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; write datetime(..., tzinfo=UTC)")
    return moment.astimezone(UTC)
