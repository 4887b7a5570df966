"""Wake-ups, in and out. None is ever needed: polling finds the work too, only later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import psycopg

from stepwell.db.link import LONGEST_PAUSE, Link
from stepwell.db.listen import listening, wake

WINDOW = 0.05


class Pokes:
    """Tells other workers that queues have work left: once per queue and window, off the commit
    path, because NOTIFY takes a database-wide lock when its transaction commits."""

    def __init__(self) -> None:
        self._queues: set[str] = set()
        self._some = asyncio.Event()

    def add(self, queues: Sequence[str]) -> None:
        self._queues.update(queues)
        if queues:
            self._some.set()

    async def send(self, link: Link) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(WINDOW)
            self._some.clear()
            queues, self._queues = sorted(self._queues), set()
            with suppress(psycopg.Error):  # the others poll
                await link.once(wake(queues).on)


class Ears:
    """Hears which queues somebody names, and connects again when the connection breaks. Nobody's
    coming or going changes that for others: each worker listens for itself."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._error: Exception | None = None
        self._tried = asyncio.Event()
        self.listening = False

    async def run(self, woken: Callable[[str], None]) -> None:
        """Call `woken` for each queue that is named."""
        pause = 0.1
        try:
            while True:
                try:
                    async with listening(self._dsn) as queues:
                        pause = 0.1
                        self._say(None)
                        woken("")  # whatever was said while nobody listened
                        async for queue in queues:
                            woken(queue)
                except (psycopg.Error, OSError) as error:
                    self._say(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        finally:
            self.listening = False

    async def check(self) -> None:
        """Return once it listens; raise what keeps it from that."""
        while not self.listening:
            self._tried.clear()
            await self._tried.wait()
            if self._error is not None:
                raise self._error

    def _say(self, error: Exception | None) -> None:
        self.listening, self._error = error is None, error
        self._tried.set()
