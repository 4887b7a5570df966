"""SIGTERM and SIGINT: the first lets handlers end, the second does not wait for them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Stoppable(Protocol):
    def stop(self, *, now: bool = False) -> None: ...


@contextmanager
def on_signals(worker: Stoppable) -> Generator[None]:
    """Stop the worker on the first signal, at once on the second."""
    loop = asyncio.get_running_loop()
    seen = 0

    def stop() -> None:
        nonlocal seen
        seen += 1
        worker.stop(now=seen > 1)

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
