"""The worker's own threads for sync handlers: bounded, and never in the way of an exit."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

Job = Callable[[], None]


class Threads:
    """At most `limit` daemon threads, started when needed. Whoever finds none free waits for one.

    A thread cannot be stopped. One whose handler was given up (timeout, cancel) lingers until the
    handler ends, and still occupies a slot: `lingering` is told whose it is and +1, and -1 when it
    is over.
    """

    def __init__(self, limit: int, lingering: Callable[[int, int], None]) -> None:
        self._free = asyncio.Semaphore(limit)
        self._lingering = lingering
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    async def run(
        self,
        function: Callable[[], Any],
        begins: Callable[[], None],
        token: int,
    ) -> Any:
        """Call `function` in a thread and wait for it, for the claim of that token. `begins` is
        told once a thread is free."""
        loop = asyncio.get_running_loop()
        await self._free.acquire()  # until the thread ends, however long we wait for it
        begins()
        answer: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            try:  # one that was given up at the last moment is not begun
                result = None if answer.cancelled() else context.run(function)
                error = None
            except BaseException as raised:
                result, error = None, raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._ended, answer, result, error, token)

        self._start(job)
        try:
            return await answer
        finally:
            if answer.cancelled():
                self._lingering(token, +1)

    def close(self) -> None:
        """Let idle threads end; busy ones end with their handler or with the process."""
        for _ in self._threads:
            self._jobs.put(None)

    def _start(self, job: Job) -> None:
        self._busy += 1
        self._jobs.put(job)
        if len(self._threads) < self._busy:
            name = f"stepwell-handler-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _ended(
        self,
        answer: asyncio.Future[Any],
        result: Any,
        error: BaseException | None,
        token: int,
    ) -> None:
        self._busy -= 1
        self._free.release()
        if answer.cancelled():
            self._lingering(token, -1)
        elif isinstance(error, StopIteration):  # no future can carry one
            answer.set_exception(RuntimeError(f"the handler raised {error!r}"))
        elif error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)
