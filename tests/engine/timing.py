"""How soon something happens, on a machine that may be busy or stop for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import psycopg

TRIES = 8
OFTEN = 0.005  # seconds between two beats


class Pulse:
    """Asks the database next to nothing, again and again, in a thread of its own. The longest that
    it had to wait is how long the machine was away, whatever we did."""

    def __init__(self, dsn: str) -> None:
        self.longest = 0.0
        self._conn = psycopg.connect(dsn, autocommit=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self._conn.execute("select 1")
            time.sleep(OFTEN)
            self.longest = max(self.longest, time.monotonic() - began - OFTEN)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._conn.close()


async def undisturbed(dsn: str, bound: float, measure: Callable[[], Awaitable[float]]) -> float:
    """The seconds that `measure` says. If they are `bound` or more, and the machine was away for a
    good part of them, they say nothing of us: it is asked once more."""
    seconds = 0.0
    for _ in range(TRIES):
        with Pulse(dsn) as pulse:
            seconds = await measure()
        if seconds < bound or pulse.longest < bound / 5:
            break
        print(f"{seconds:.3f} s, but the machine was away for {pulse.longest:.3f} s: once more")
    return seconds
