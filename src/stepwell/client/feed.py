"""Reads what happens to runs: one question to Postgres for all streams of a client."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any
from uuid import UUID
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection

from stepwell.client.events import (
    GROWTH,
    LEASE,
    LONGEST,
    OUTAGE,
    PAGE,
    RENEWED,
    SHORTEST,
    Place,
)
from stepwell.client.settling import settle
from stepwell.client.stream import EventStream
from stepwell.db.connect import raise_unless_passing
from stepwell.db.events import (
    events_between,
    events_of,
    keep_listening,
    listen_to,
    stop_listening,
)
from stepwell.db.pool import Pool
from stepwell.errors import EventsMissed, StepwellError


class Feed:
    """Reads for all streams of a client: every 20 ms while something happens, every 250 ms when
    nothing does; nothing when there is no stream. An outage of the database only makes it later, if
    it is shorter than a lease."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._streams: WeakSet[EventStream] = WeakSet()
        self._task: asyncio.Task[None] | None = None
        self._renewed = 0.0
        self.forgotten: list[UUID] = []

    async def join(self, stream: EventStream, place: Place) -> None:
        """From now on nothing is missed. A run that has ended has one event."""
        [begun] = await self._pool.run(listen_to(place.listener, place.run_id, LEASE))
        last = place.begin(begun)
        if last is not None:
            stream.put([last])
            return
        if place.run_id is None:
            await settle(self._pool)
        self._watch_over(stream)

    def leave(self, stream: EventStream) -> None:
        """The database hears of it in the next round."""
        if stream in self._streams and stream.place is not None:
            self._streams.discard(stream)
            self.forgotten.append(stream.place.listener)

    async def close(self) -> None:
        """Whoever still listens gets an error."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            left = list(self._streams)
            self._fail_all(StepwellError("the client was closed while events were read"))
            self.forgotten += [stream.place.listener for stream in left if stream.place]
            with suppress(psycopg.Error, StepwellError):
                async with self._pool.connection() as conn:
                    await self._let_go(conn)

    def _watch_over(self, stream: EventStream) -> None:
        loop, task = asyncio.get_running_loop(), self._task
        if task is None or task.done() or task.get_loop() is not loop:
            if task is not None and task.get_loop() is not loop:
                self._streams = WeakSet()
            self._renewed = time.monotonic()
            self._task = loop.create_task(self._watch(), name="stepwell events")
        self._streams.add(stream)

    async def _watch(self) -> None:
        try:
            await self._read_on()
        except Exception as error:
            self._fail_all(error)

    async def _read_on(self) -> None:
        pause = SHORTEST
        while self._streams or self.forgotten:
            try:
                async with self._pool.connection() as conn:
                    found = await self._round(conn)
                pause = SHORTEST if found else min(pause * GROWTH, LONGEST)
            except psycopg.OperationalError as error:
                raise_unless_passing(error)
                pause = OUTAGE
            await asyncio.sleep(pause)

    async def _round(self, conn: AsyncConnection[Any]) -> bool:
        if self.forgotten:
            await self._let_go(conn)
        if time.monotonic() - self._renewed > RENEWED:
            await self._renew(conn)
        found = await self._read_runs(conn)
        for stream in [s for s in self._streams if s.place and s.place.run_id is None]:
            found = await self._read_all(stream, conn) or found
        return found

    async def _read_runs(self, conn: AsyncConnection[Any]) -> bool:
        readers = dict[UUID, list[tuple[EventStream, Place]]]()
        for stream in self._streams:
            place = stream.place
            if place is not None and place.run_id is not None and stream.has_room:
                readers.setdefault(place.run_id, []).append((stream, place))
        if not readers:
            return False
        after = [min(place.after for _, place in some) for some in readers.values()]
        rows = await events_of(list(readers), after, PAGE).on(conn)
        for run_id, some in readers.items():
            of_run = [row for row in rows if row.run_id == run_id]
            for stream, place in some:
                stream.put(place.of_run(of_run))
        return bool(rows)

    async def _read_all(self, stream: EventStream, conn: AsyncConnection[Any]) -> bool:
        place = stream.place
        if place is None or not stream.has_room:
            return False
        rows = await events_between(place.seen, place.until, place.after, PAGE).on(conn)
        found = place.of_all(rows)
        stream.put(found)
        return bool(found)

    async def _renew(self, conn: AsyncConnection[Any]) -> None:
        """Who is far behind is not renewed: what it has not read may be gone when its lease is
        over, and then it is told."""
        streams = [(s, s.place) for s in self._streams if s.place is not None]
        wanted = [p.listener for s, p in streams if not p.behind and s.has_room]
        kept = {row.listener for row in await keep_listening(wanted, LEASE).on(conn)}
        self._renewed = time.monotonic()
        for stream, place in streams:
            if place.listener in wanted and place.listener not in kept:
                await self._again(stream, place, conn)

    async def _again(self, stream: EventStream, place: Place, conn: AsyncConnection[Any]) -> None:
        """A lease lapsed. Of one run its end is what matters, and that comes."""
        if place.run_id is None:
            self._streams.discard(stream)
            stream.fail(EventsMissed())
            return
        try:
            [begun] = await listen_to(place.listener, place.run_id, LEASE).on(conn)
        except StepwellError as error:  # it was deleted meanwhile
            self._streams.discard(stream)
            stream.fail(error)
            return
        last = place.resume(begun)
        if last is not None:
            self._streams.discard(stream)
            stream.put([last])

    async def _let_go(self, conn: AsyncConnection[Any]) -> None:
        gone = list(self.forgotten)
        await stop_listening(gone).on(conn)
        del self.forgotten[: len(gone)]

    def _fail_all(self, error: Exception) -> None:
        for stream in list(self._streams):
            stream.fail(error)
        self._streams.clear()
