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


async def listen(dsn: str, woken: Callable[[str], None]) -> None:
    """Call `woken` for each queue that somebody names; connect again when the connection breaks."""
    pause = 0.1
    while True:
        with suppress(psycopg.Error, OSError):
            async with listening(dsn) as queues:
                pause = 0.1
                woken("")  # whatever was said while nobody listened
                async for queue in queues:
                    woken(queue)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
