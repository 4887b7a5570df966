"""The heartbeat: a thread and a connection of its own, so that a handler that blocks the event
loop does not look like a crash."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg

from stepwell.db import presence
from stepwell.db.connect import connect_options
from stepwell.db.presence import Beat
from stepwell.errors import StepwellError

# Shares of a lease. A worker that was silent for SILENCE is lost, and a sweep comes every BEAT: so
# within one lease of a crash its tasks are in other hands, with a third of it left to run them.
BEAT = 1 / 6
SILENCE = 1 / 2

Told = Callable[[Beat, set[int], float], None]


class Heart:
    """Beats six times per lease. Tells the event loop what it learnt of tokens held before,
    and until when the lease is good."""

    def __init__(self, dsn: str, worker: UUID, lease: float, held: Callable[[], set[int]]) -> None:
        self._dsn = dsn
        self._worker = worker
        self._lease = lease
        self._held = held
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, told: Told) -> None:
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()  # whoever listens to events here hears of these too

        def tell(beat: Beat, before: set[int], until: float) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(told, beat, before, until, context=context)

        self._thread = threading.Thread(
            target=self._beat_on, args=(tell,), name="stepwell-heartbeat", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """The thread ends by itself; one that hangs in a dead connection is a daemon."""
        self._stop.set()

    def _beat_on(self, tell: Told) -> None:
        conn: psycopg.Connection[Any] | None = None
        pause = self._lease * BEAT
        while not self._stop.wait(pause):
            try:
                if conn is None or conn.closed:
                    conn = self._connect()
                before, until = self._held(), time.monotonic() + self._lease * SILENCE
                beat = presence.heartbeat(self._worker).on_sync(conn)[0]
            except (psycopg.Error, StepwellError, RuntimeError):  # or the desk changed just now
                pause = min(1.0, self._lease / 10)
                if conn is not None:
                    conn.close()  # the next one may lead to a server that takes it
                continue
            pause = self._lease * BEAT
            tell(beat, before, until)
        if conn is not None:
            conn.close()

    def _connect(self) -> psycopg.Connection[Any]:
        options = connect_options(self._dsn, self._lease * BEAT, "stepwell heartbeat")
        return psycopg.connect(**options)
