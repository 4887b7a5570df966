"""The queues of messages that a worker serves, beside its tasks: one reader for each, one thread
that keeps what they hold, one connection that hears of new messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress

import psycopg

from stepwell.db.link import LONGEST_PAUSE, Link, Outage
from stepwell.db.messages import announced
from stepwell.settings import Settings
from stepwell.worker.body import Hands
from stepwell.worker.queue_keeper import Keeper
from stepwell.worker.queue_message import AnyQueueWorker
from stepwell.worker.queue_reader import QueueReader


class Queues:
    """What one incarnation reads. Nothing of it runs but inside `serving`."""

    def __init__(
        self,
        workers: Iterable[AnyQueueWorker],
        hands: Hands,
        settings: Settings,
        outage: Outage,
    ) -> None:
        self._settings = settings
        self._outage = outage
        self._opened = asyncio.Event()
        self._readers = [
            QueueReader(each, hands, settings.poll, self._opened.set)
            for each in workers
            if settings.serves(each.queue)
        ]

    @property
    def names(self) -> list[str]:
        return [reader.queue for reader in self._readers]

    @property
    def bodies(self) -> set[asyncio.Task[None]]:
        """Handlers that run."""
        return {body for reader in self._readers for body in reader.bodies}

    @property
    def released(self) -> int:
        """How many messages went back because the worker stops."""
        return sum(reader.released for reader in self._readers)

    def close(self) -> None:
        """Read nothing more."""
        for reader in self._readers:
            reader.close()

    def cut_off(self) -> None:
        """Handlers had their time: what they have in hand goes back."""
        for reader in self._readers:
            reader.cut_off()

    def woken(self, queue: str) -> None:
        """Somebody named a queue; empty: perhaps any, while nobody listened."""
        for reader in self._readers:
            if queue in ("", reader.queue):
                reader.woken()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Read and handle until the block ends, and all that ended by then is written."""
        if not self._readers:
            yield
            return
        keeper = Keeper(self._settings.dsn, self._readers)
        keeper.start()
        try:
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                reading = [group.create_task(self._read(reader)) for reader in self._readers]
                yield
                self.close()
                await asyncio.wait(reading)
                listening.cancel()
        finally:
            keeper.stop()

    async def _read(self, reader: QueueReader) -> None:
        link = Link(self._settings.dsn, self._outage, self._settings.connect_timeout)
        try:
            await reader.run(link)
        finally:
            await link.close()

    async def _listen(self) -> None:
        """Hear of messages in the queues that are open, and begin anew when one more is."""
        while True:
            self._opened.clear()
            channels = {reader.channel: reader for reader in self._readers if reader.channel}
            async with asyncio.TaskGroup() as group:
                hearing = group.create_task(self._hear(channels)) if channels else None
                await self._opened.wait()
                if hearing:
                    hearing.cancel()

    async def _hear(self, channels: dict[str, QueueReader]) -> None:
        dsn = self._settings.listen_dsn or self._settings.dsn
        pause = 0.1
        while True:
            with suppress(psycopg.Error, OSError):
                async with announced(dsn, list(channels)) as announcements:
                    pause = 0.1
                    self.woken("")  # whatever was said while nobody listened
                    async for channel in announcements:
                        channels[channel].announced()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
