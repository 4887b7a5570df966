"""One lease of a worker, from registering to leaving. Lifetimes nest, so that the shutdown order
is the indentation: claiming ends, handlers end, the last batch is written, and only then the
heartbeat stops and the worker leaves."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from stepwell.db import presence
from stepwell.db.call import Call
from stepwell.db.link import Link, Outage
from stepwell.db.presence import Beat
from stepwell.observe.emit import emit
from stepwell.observe.events import (
    WorkerLapsed,
    WorkerStarted,
    WorkerStopped,
    WorkerStopping,
)
from stepwell.settings import Settings
from stepwell.worker import chores, turns, wake
from stepwell.worker.archive import Archivist
from stepwell.worker.binding import Bindings
from stepwell.worker.bodies import Bodies, hands_of
from stepwell.worker.desk import Desk
from stepwell.worker.lanes import Lanes
from stepwell.worker.leases import BEAT, SILENCE, Heart
from stepwell.worker.notes import Notes, through
from stepwell.worker.queues import Queues
from stepwell.worker.schedules import Schedules

LAST_WORDS = 5.0  # seconds for what must be written at the very end


class Incarnation:
    """Claims, executes and commits under one lease. `lapsed` says that it ended by losing it."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        bindings: Bindings,
        lanes: Lanes,
        outage: Outage,
    ) -> None:
        self.id = uuid4()
        self.lapsed = False
        self.registered = False
        self._settings = settings
        self._name = name
        self._bindings = bindings
        self._lanes = lanes
        self._outage = outage
        self._lanes_new = asyncio.Event()
        self._desk = Desk(settings.concurrency)
        self._hands = hands_of(settings, self.id, bindings, self._desk, self._written)
        self._notes_link = Link(settings.dsn, outage, settings.connect_timeout)
        self._notes = Notes(
            through(self._notes_link), lines=settings.log_lines, size=settings.log_bytes
        )
        self._bodies = Bodies(self._hands, bindings, self._desk, self._notes, self.stop)
        self._timers = chores.Timers(settings.poll)
        self._schedules = Schedules(max(settings.poll, settings.lease * BEAT))
        self._pokes = wake.Pokes()
        self._turns = turns.Turns(
            self.id,
            self._desk,
            lanes,
            poll=settings.poll,
            knows=lambda task: bindings.of(task) is not None,
            begin=self._bodies.begin,
            more_ready=self._pokes.add,
            delayed=self._timers.look_again,
            most=settings.most_of,
            observes=self._hands.observes,
        )
        self._queues = Queues(bindings.queues, self._hands, settings, outage)
        self._stop = asyncio.Event()
        self._now = asyncio.Event()
        self._cut_off = 0

    @property
    def stopping(self) -> bool:
        """It takes nothing new."""
        return self._stop.is_set()

    @property
    def running(self) -> int:
        """Tasks and messages in hand."""
        return len(self._desk.running) + len(self._queues.bodies)

    @property
    def concurrency(self) -> int:
        return self._desk.concurrency

    @property
    def lease_left(self) -> float:
        """Seconds for which its claims are safe, as far as it knows."""
        return max(0.0, self._desk.leased_until - time.monotonic())

    def stop(self, *, now: bool = False) -> None:
        self._stop.set()
        if now:
            self._now.set()

    async def run(self) -> None:
        """Serve until stopped or lapsed, then drain within the grace period and leave."""
        async with self._link() as link:
            if not await self._registered(link):
                return
            served = self._bindings.served(set(self._lanes.slugs.values()))
            emit(WorkerStarted(self.id, served, self._settings.concurrency))
            try:
                async with self._beating(), asyncio.TaskGroup() as group:
                    helping = [group.create_task(chore) for chore in self._chores(link)]
                    with suppress(TimeoutError):
                        async with (
                            asyncio.timeout(None) as deadline,
                            self._turning(),
                            self._queues.serving(),
                        ):
                            await self._stop.wait()
                            await self._drain(deadline)
                    for helper in helping:
                        helper.cancel()
            finally:
                self._desk.drop(list(self._desk.running))
                await self._leave(link)
                await self._hands.close()
                await self._notes_link.close()

    async def _registered(self, link: Link) -> bool:
        """False: stopped before the database answered."""
        until = time.monotonic() + self._settings.lease * SILENCE
        registering = asyncio.create_task(link.run(self._register()))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({registering, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not registering.done():
                return False
            registering.result()
            self._desk.lease(until)
            self.registered = True
            return True
        finally:
            registering.cancel()
            stopping.cancel()

    def lanes_changed(self) -> None:
        """There are versions to claim that were not there before."""
        self._lanes_new.set()
        self._desk.wake()

    @asynccontextmanager
    async def _turning(self) -> AsyncGenerator[None]:
        """The loops that claim and commit; they end when all that ended is written."""
        async with asyncio.TaskGroup() as group:
            for _ in range(turns.AT_ONCE):
                group.create_task(self._take_turns())
            yield
            self._turns.close()

    async def _take_turns(self) -> None:
        async with self._link() as link:
            await self._turns.run(link)

    @asynccontextmanager
    async def _beating(self) -> AsyncGenerator[None]:
        heart = Heart(
            self._settings.dsn, self.id, self._settings.lease, lambda: set(self._desk.running)
        )
        heart.start(self._heard)
        try:
            yield
        finally:
            heart.stop()

    def _chores(self, link: Link) -> Iterator[Coroutine[Any, Any, None]]:
        settings = self._settings
        yield self._timers.run(link, self._due)
        yield self._schedules.run(link, self._due)
        yield chores.reclaim(link, settings.lease * BEAT, self._desk.wake, self._due)
        yield chores.tidy(link, settings.lease * BEAT, self._due)
        yield self._pokes.send(link)
        yield self._notes.run()
        yield chores.prune(self._link, settings.retention, settings.audit_retention)
        if archive := self._bindings.archive:
            archivist = Archivist(archive, self.id, self._bindings.archived)
            yield archivist.run(self._link, settings.retention)
        yield self._tell_queues(link)

    async def _drain(self, deadline: asyncio.Timeout) -> None:
        """Handlers get the grace period, then they are cut off; their claims go back."""
        grace = 0.0 if self.lapsed or self._now.is_set() else self._settings.grace
        self._desk.close()
        self._queues.close()
        bodies = self._bodies.running | self._queues.bodies
        emit(WorkerStopping(self.id, self.running, grace))
        loop = asyncio.get_running_loop()
        deadline.reschedule(loop.time() + grace + LAST_WORDS)
        if bodies and grace:
            now = asyncio.create_task(self._now.wait())
            ends = asyncio.gather(*bodies, return_exceptions=True)
            await asyncio.wait({now, ends}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            now.cancel()
        self._cut_off = self._bodies.cut_off()
        self._queues.cut_off()
        if left := {body for body in bodies if not body.done()}:
            await asyncio.wait(left, timeout=1.0)  # what swallows its cancellation stays behind
        self._desk.running.clear()

    def _heard(self, beat: Beat, before: set[int], until: float) -> None:
        if not beat.alive:
            if not self.lapsed:
                self.lapsed = True
                emit(WorkerLapsed(self.id, len(self._desk.running)))
            self.stop(now=True)
        elif beat.draining:
            self.stop()
        else:
            self._desk.lease(until)
        self._desk.drop(before.difference(beat.held))

    def _due(self, queues: Sequence[str]) -> None:
        self._desk.wake()
        if not self._desk.free or not set(queues) <= set(self._lanes.queues):
            self._pokes.add(queues)  # somebody else may be free for it

    def _written(self, ready: Sequence[str], delays: bool) -> None:
        """An outcome committed with its writes: what comes next is claimed like anything else."""
        if ready or delays:
            self._timers.look_again()
        self._due(ready)

    def woken(self, queue: str) -> None:
        """Somebody named a queue; empty: perhaps any, while nobody listened."""
        self._timers.look_again()
        self._schedules.look_again()
        self._queues.woken(queue)
        if not queue or queue in self._queues.names or self._lanes.serve(queue):
            self._desk.wake()

    async def _tell_queues(self, link: Link) -> None:
        """Who looks at the workers sees what each serves."""
        while True:
            self._lanes_new.clear()
            await link.run(self._served())
            await self._lanes_new.wait()

    def _served(self) -> Call[presence.Nothing]:
        lanes = self._lanes
        return presence.serve_lanes(
            self.id,
            self.queue_names,
            lanes.queues,
            lanes.versions,
            self._settings.concurrency,
            datetime.now(UTC),
        )

    @property
    def queue_names(self) -> list[str]:
        """The queues that it serves, of tasks and of messages."""
        return sorted({*self._lanes.queues, *self._queues.names})

    async def _leave(self, link: Link) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS):
                await self._notes.close()
                await link.run(presence.leave(self.id))
        emit(WorkerStopped(self.id, self._cut_off + self._queues.released))

    def _register(self) -> Call[presence.Nothing]:
        return presence.register_worker(
            self.id,
            self._name,
            self.queue_names,
            self._settings.lease * SILENCE,
            socket.gethostname(),
            os.getpid(),
        )

    @asynccontextmanager
    async def _link(self) -> AsyncGenerator[Link]:
        link = Link(self._settings.dsn, self._outage, self._settings.connect_timeout)
        try:
            yield link
        finally:
            await link.close()
