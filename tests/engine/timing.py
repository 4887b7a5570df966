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
    """Asks the database next to nothing, again and again, in a thread of its own. What it had to
    wait, at the longest and in all, is how long the machine was away, whatever we did."""

    def __init__(self, dsn: str) -> None:
        self.longest = 0.0
        self.away = 0.0
        self._conn = psycopg.connect(dsn, autocommit=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def _beat(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self._conn.execute("select 1")
            time.sleep(OFTEN)
            waited = time.monotonic() - began - OFTEN
            self.longest = max(self.longest, waited)
            self.away += waited if waited > OFTEN else 0.0

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
    """The seconds that `measure` says. If they are `bound` or more only because the machine was
    away meanwhile, they say nothing of us: it is asked once more. What that does not explain, a
    wake-up that was lost and made up for by a poll, is never asked for again."""
    seconds = 0.0
    for _ in range(TRIES):
        with Pulse(dsn) as pulse:
            seconds = await measure()
        if seconds < bound or not explained(seconds, bound, pulse.longest, pulse.away):
            break
        print(f"{seconds:.3f} s, but the machine was away for {pulse.away:.3f} s: once more")
    return seconds


def explained(seconds: float, bound: float, longest: float, away: float) -> bool:
    """Whether it is for the machine's absence. What is measured meets that at more places than a
    pulse does, so it counts twice."""
    return longest >= bound / 5 and seconds - 2 * away < bound
