"""Wake-ups for listening workers. They are sent after the commit, few for many starts, and a lost
one costs only time: workers look by themselves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from stepwell.db.call import Call
from stepwell.db.pool import Pool
from stepwell.db.start import Woken, wake_flows, wake_queues
from stepwell.db.sync.pool import SyncPool
from stepwell.errors import StepwellError

WINDOW = 0.05  # seconds between two wake-ups of the same
MOST = 1000  # to remember


@dataclass(frozen=True, slots=True, order=True)
class Wake:
    """Who is to look for work: those who serve a flow, machine or job, or those of a queue."""

    name: str
    is_queue: bool = False


def to_queues(queues: Sequence[str]) -> list[Wake]:
    return [Wake(queue, is_queue=True) for queue in queues]


def wake_calls(wakes: Sequence[Wake]) -> list[Call[Woken]]:
    flows = [wake.name for wake in wakes if not wake.is_queue]
    queues = [wake.name for wake in wakes if wake.is_queue]
    return [*([wake_flows(flows)] if flows else []), *([wake_queues(queues)] if queues else [])]


class Recent:
    """Who was woken just now, and who is to be woken again."""

    def __init__(self) -> None:
        self._sent: dict[Wake, float] = {}
        self.again: set[Wake] = set()

    def admits(self, wake: Wake) -> bool:
        """True when it may be sent at once; otherwise it is noted for later."""
        now = time.monotonic()
        if wake in self.again or now - self._sent.get(wake, -WINDOW) < WINDOW:
            self.again.add(wake)
            return False
        if len(self._sent) > MOST:  # queues may be made up as one goes
            self._sent = {k: sent for k, sent in self._sent.items() if now - sent < WINDOW}
        self._sent[wake] = now
        return True

    def take(self) -> list[Wake]:
        """What was put off; it counts as sent now."""
        wakes, self.again = sorted(self.again), set()
        self._sent.update(dict.fromkeys(wakes, time.monotonic()))
        return wakes


class Wakes:
    """The first wake-up of its kind goes at once, one more at the end of the window."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._recent = Recent()
        self._later: asyncio.Task[None] | None = None
        self._soon: set[asyncio.Task[None]] = set()

    async def wake(self, *wakes: Wake) -> None:
        admitted = [wake for wake in wakes if self._recent.admits(wake)]
        await self._send(admitted)
        if len(admitted) == len(wakes):
            return
        loop = asyncio.get_running_loop()
        if self._later is None or self._later.done() or self._later.get_loop() is not loop:
            self._later = loop.create_task(self._send_later(), name="stepwell wake")

    def soon(self, *wakes: Wake) -> None:
        """The same for who cannot wait for it: a hook in the commit of somebody else."""
        task = asyncio.get_running_loop().create_task(self.wake(*wakes), name="stepwell wake")
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)

    async def close(self) -> None:
        """Send what was put off."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(task for task in self._soon if task.get_loop() is loop))
        later, self._later = self._later, None
        if later is not None and later.get_loop() is asyncio.get_running_loop():
            later.cancel()
            with suppress(asyncio.CancelledError):
                await later
        await self._send(self._recent.take())

    async def _send_later(self) -> None:
        while self._recent.again:
            await asyncio.sleep(WINDOW)
            await self._send(self._recent.take())

    async def _send(self, wakes: Sequence[Wake]) -> None:
        if not wakes:
            return
        with suppress(psycopg.Error, StepwellError):
            async with self._pool.connection() as conn:
                for call in wake_calls(wakes):
                    await call.on(conn)


class SyncWakes:
    """The same for threads; what was put off is sent by a timer."""

    def __init__(self, pool: SyncPool) -> None:
        self._pool = pool
        self._recent = Recent()
        self._later: threading.Timer | None = None
        self._lock = threading.Lock()

    def wake(self, *wakes: Wake) -> None:
        with self._lock:
            admitted = [wake for wake in wakes if self._recent.admits(wake)]
            put_off = len(admitted) < len(wakes)
            if put_off and (self._later is None or not self._later.is_alive()):
                self._later = threading.Timer(WINDOW, self._send_rest)
                self._later.daemon = True
                self._later.start()
        self._send(admitted)

    def close(self) -> None:
        """Send what was put off."""
        with self._lock:
            later, self._later = self._later, None
        if later is not None:
            later.cancel()
            later.join(timeout=1)
        self._send_rest()

    def _send_rest(self) -> None:
        with self._lock:
            wakes = self._recent.take()
            self._later = None
        self._send(wakes)

    def _send(self, wakes: Sequence[Wake]) -> None:
        if not wakes:
            return
        with suppress(psycopg.Error, StepwellError), self._pool.connection() as conn:
            for call in wake_calls(wakes):
                call.on_sync(conn)
