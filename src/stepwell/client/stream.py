"""A stream of events, as who reads it sees it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol, Self
from uuid import UUID

from stepwell.client.events import Place, RunEvent

ROOM = 1000  # events that wait in a stream before it reads no more

Address = Callable[[], Awaitable[UUID]]


class Source(Protocol):
    """Who fills streams. Listeners that are `forgotten` it lets go of."""

    forgotten: list[UUID]

    async def join(self, stream: EventStream, place: Place) -> None: ...

    def leave(self, stream: EventStream) -> None: ...


class EventStream(AsyncIterator[RunEvent]):
    """Events from now on, in order; of one run up to the event that ends it. `async with` begins to
    listen at once and stops at the end of the block. Without it, the first event that is asked for
    begins it. A stream has one reader; any number of streams get the same."""

    def __init__(self, feed: Source, address: Address | None) -> None:
        self._feed = feed
        self._address = address
        self._events = deque[RunEvent]()
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._over = False
        self.place: Place | None = None

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunEvent:
        await self._begin()
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        if event.ended and self._address is not None:
            self._events.clear()
            await self.aclose()
        return event

    async def aclose(self) -> None:
        """Stop listening; what was not read is gone."""
        if self._over:
            return
        self._over = True
        self._news.set()
        self._feed.leave(self)

    def __del__(self) -> None:
        if not self._over and self.place is not None:
            self._feed.forgotten.append(self.place.listener)

    @property
    def has_room(self) -> bool:
        return len(self._events) < ROOM

    def put(self, events: Sequence[RunEvent]) -> None:
        self._events.extend(events)
        if events:
            self._news.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    async def _begin(self) -> None:
        if self.place is None and not self._over:
            run_id = None if self._address is None else await self._address()
            self.place = Place(run_id)
            try:
                await self._feed.join(self, self.place)
            except BaseException:
                self._over = True
                self._feed.forgotten.append(self.place.listener)
                raise
