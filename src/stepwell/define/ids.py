"""Ids of runs are made where runs are written, so that writing twice starts nothing twice."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID


class Clock:
    """Run ids grow with time, also within one millisecond and when the clock is set back."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._unlock)

    def tick(self) -> int:
        """60 bits: milliseconds, and 4096ths of one."""
        whole, rest = divmod(time.time_ns(), 1_000_000)
        with self._lock:
            self._last = max(whole << 12 | rest * 4096 // 1_000_000, self._last + 1)
            return self._last

    def _unlock(self) -> None:
        self._lock = threading.Lock()


_clock = Clock()


def new_run_id() -> UUID:
    """A uuid of version 7."""
    tick = _clock.tick()
    chance = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return UUID(int=tick >> 12 << 80 | 7 << 76 | (tick & 0xFFF) << 64 | 2 << 62 | chance)
