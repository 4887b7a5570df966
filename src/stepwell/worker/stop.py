"""SIGTERM and SIGINT: the first lets handlers end, the second does not wait for them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Collection, Coroutine, Generator
from contextlib import closing, contextmanager
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")


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


def run_loop(main: Coroutine[Any, Any, Result], patience: float = 1.0) -> Result:
    """As asyncio.run, but a handler that swallows its cancellation does not keep the process."""
    with closing(asyncio.new_event_loop()) as loop:
        try:
            return loop.run_until_complete(main)
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                _, abandoned = loop.run_until_complete(asyncio.wait(left, timeout=patience))
                leave_in_peace(loop, abandoned)
            loop.run_until_complete(loop.shutdown_asyncgens())


def leave_in_peace(loop: asyncio.AbstractEventLoop, abandoned: Collection[object]) -> None:
    """What would not stop is known of; its end with the process is no news for the log."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("task") not in abandoned:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
