"""Wake-ups for listening workers. They are sent after the commit, few for many starts, and a lost
one costs only time: workers look by themselves."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress

import psycopg

from stepwell.db.pool import Pool
from stepwell.db.start import wake_flows
from stepwell.db.sync_pool import SyncPool
from stepwell.errors import StepwellError

WINDOW = 0.05  # seconds between two wake-ups of one flow


class Recent:
    """Which flows were woken just now, and which want it again."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self.again: set[str] = set()

    def admits(self, flow: str) -> bool:
        """True when the flow may be woken at once; otherwise it is noted for later."""
        now = time.monotonic()
        if flow in self.again or now - self._sent.get(flow, -WINDOW) < WINDOW:
            self.again.add(flow)
            return False
        self._sent[flow] = now
        return True

    def take(self) -> list[str]:
        """The flows that were put off; they count as woken now."""
        flows, self.again = sorted(self.again), set()
        self._sent.update(dict.fromkeys(flows, time.monotonic()))
        return flows


class Wakes:
    """The first wake-up of a flow goes at once, one more at the end of the window."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._recent = Recent()
        self._later: asyncio.Task[None] | None = None

    async def wake(self, flow: str) -> None:
        if self._recent.admits(flow):
            await self._send([flow])
            return
        loop = asyncio.get_running_loop()
        if self._later is None or self._later.done() or self._later.get_loop() is not loop:
            self._later = loop.create_task(self._send_later(), name="stepwell wake")

    async def close(self) -> None:
        """Send what was put off."""
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

    async def _send(self, flows: list[str]) -> None:
        if not flows:
            return
        with suppress(psycopg.Error, StepwellError):
            async with self._pool.connection() as conn:
                await wake_flows(flows).on(conn)


class SyncWakes:
    """The same for threads; what was put off is sent by a timer."""

    def __init__(self, pool: SyncPool) -> None:
        self._pool = pool
        self._recent = Recent()
        self._later: threading.Timer | None = None
        self._lock = threading.Lock()

    def wake(self, flow: str) -> None:
        with self._lock:
            admitted = self._recent.admits(flow)
            if not admitted and (self._later is None or not self._later.is_alive()):
                self._later = threading.Timer(WINDOW, self._send_rest)
                self._later.daemon = True
                self._later.start()
        if admitted:
            self._send([flow])

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
            flows = self._recent.take()
            self._later = None
        self._send(flows)

    def _send(self, flows: list[str]) -> None:
        if not flows:
            return
        with suppress(psycopg.Error, StepwellError), self._pool.connection() as conn:
            wake_flows(flows).on_sync(conn)
