"""A client, workers in this process, and what they said: what the tests of the worker share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeVar

import psycopg

from stepwell import Client, Flow, Stepwell
from stepwell.observe.emit import subscribed
from stepwell.observe.events import BatchCommitted, Event, WorkerStarted
from stepwell.settings import Settings
from stepwell.worker.worker import Worker
from tests.db.invariants import broken

Kind = TypeVar("Kind", bound=Event)
PATIENCE = 15.0


class Events:
    """What was emitted, in order; `until` waits for more of it instead of sleeping."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        self._news = asyncio.Event()

    def take(self, event: Event) -> None:
        self.all.append(event)
        self._news.set()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.all if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        async with asyncio.timeout(patience):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def first(self, kind: type[Kind], times: int = 1) -> Kind:
        """The n-th event of a kind, once there are so many."""
        await self.until(lambda: len(self.of(kind)) >= times)
        return self.of(kind)[times - 1]

    @property
    def written(self) -> int:
        """How many outcomes were written."""
        return sum(event.size - event.stale for event in self.of(BatchCommitted))


class Serving:
    """A worker in a task of its own."""

    def __init__(self, worker: Worker, events: Events) -> None:
        self.worker = worker
        self.events = events
        self.task = asyncio.create_task(worker.run())

    def stop(self, *, now: bool = False) -> None:
        self.worker.stop(now=now)

    async def stopped(self, patience: float = PATIENCE) -> None:
        done, _ = await asyncio.wait({self.task}, timeout=patience)
        assert done, "the worker did not stop"
        if not self.task.cancelled():
            self.task.result()


class Workshop:
    """One database, one client, any number of workers."""

    def __init__(self, dsn: str, client: Client) -> None:
        self.dsn = dsn
        self.client = client

    @asynccontextmanager
    async def worker(
        self, *flows: Flow[Any, Any], app: Stepwell | None = None, **settings: Any
    ) -> AsyncGenerator[Serving]:
        """A worker that serves, and is stopped at the end if it still does."""
        knobs: dict[str, Any] = {"dsn": self.dsn, "grace": 2.0, "lease": 10.0, "poll": 1.0}
        events = Events()
        with subscribed(events.take):
            serving = Serving(Worker(app or flows, Settings(**knobs | settings)), events)
        try:
            waiting = asyncio.create_task(events.first(WorkerStarted))
            await asyncio.wait({waiting, serving.task}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if serving.task.done():
                serving.task.result()
            yield serving
        finally:
            serving.stop(now=True)
            await serving.stopped()

    def rows(self, sql: LiteralString, *arguments: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            cursor = conn.execute(sql, arguments or None)
            return cursor.fetchall() if cursor.description else []

    async def until(
        self, sql: LiteralString, *arguments: object, patience: float = PATIENCE
    ) -> list[tuple[Any, ...]]:
        """Ask again and again until there is a row; for what no event tells."""
        async with asyncio.timeout(patience):
            while not (rows := self.rows(sql, *arguments)):
                await asyncio.sleep(0.02)
        return rows

    def broken(self) -> list[tuple[Any, ...]]:
        """Invariants that do not hold."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            return broken(conn)


@asynccontextmanager
async def workshop_on(dsn: str) -> AsyncGenerator[Workshop]:
    """What a test leaves behind must keep every invariant."""
    async with Client(dsn) as client:
        workshop = Workshop(dsn, client)
        yield workshop
        assert workshop.broken() == []
