"""One question to Postgres for all that a client waits for, however many runs that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from uuid import UUID

import psycopg

from stepwell.client.reading import no_run
from stepwell.db.connect import raise_unless_passing
from stepwell.db.inspect import RunRow, ended_runs, get_runs
from stepwell.db.pool import Pool
from stepwell.errors import RunTimeout, StepwellError

SHORTEST = 0.01
LONGEST = 0.25
GROWTH = 1.5
OUTAGE = 0.5
ASK = 1000  # runs per question
FETCH = 100  # outputs per answer

Future = asyncio.Future[RunRow]


class Waiter:
    """Asks every 10 ms while runs end, every 250 ms when none does; nothing when nobody waits.
    An outage of the database only makes it later."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[UUID, set[Future]] = {}
        self._fresh: set[UUID] = set()
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def ended(self, run_id: UUID, timeout: float | None = None) -> RunRow:
        """The run once it has ended, however it ended; NotFound when there is none, RunTimeout when
        it has not in time."""
        future, deadline = self._join(run_id), asyncio.timeout(timeout)
        try:
            async with deadline:
                return await future
        except TimeoutError as error:
            if timeout is None or not deadline.expired():
                raise
            raise RunTimeout(run_id, timeout) from error
        finally:
            self._leave(run_id, future)

    async def each_ended(
        self, run_ids: Iterable[UUID], timeout: float | None = None
    ) -> AsyncGenerator[RunRow]:
        """These runs, each once, as they end; RunTimeout when some have not in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        queue: asyncio.Queue[Future] = asyncio.Queue()
        waiting = {run_id: self._join(run_id) for run_id in dict.fromkeys(run_ids)}
        for future in waiting.values():
            future.add_done_callback(queue.put_nowait)
        try:
            while waiting:
                rest = None if deadline is None else deadline - time.monotonic()
                future = await first_of(queue, rest)
                if future is None:
                    raise RunTimeout(next(iter(waiting)), timeout or 0, len(waiting) - 1)
                row = future.result()
                del waiting[row.run_id]
                yield row
        finally:
            for run_id, future in waiting.items():
                self._leave(run_id, future)

    async def close(self) -> None:
        """Whoever still waits gets an error."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            self._fail_all(StepwellError("the client was closed while a run was waited for"))
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def _join(self, run_id: UUID) -> Future:
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or task.done() or task.get_loop() is not loop:
            self._waiting, self._fresh, self._joined = {}, set(), asyncio.Event()
            self._task = loop.create_task(self._watch(), name="stepwell waiter")
        future: Future = loop.create_future()
        self._waiting.setdefault(run_id, set()).add(future)
        self._fresh.add(run_id)
        self._joined.set()
        return future

    def _leave(self, run_id: UUID, future: Future) -> None:
        if future.done() and not future.cancelled():
            future.exception()  # seen, also when the caller was cancelled at the same moment
        futures = self._waiting.get(run_id)
        if futures is not None:
            futures.discard(future)
            if not futures:
                del self._waiting[run_id]
        if not self._waiting:
            self._joined.set()

    async def _watch(self) -> None:
        try:
            await self._ask_on()
        except Exception as error:
            self._fail_all(error)

    async def _ask_on(self) -> None:
        pause = SHORTEST
        next_round = time.monotonic()
        while self._waiting:
            began = time.monotonic()
            self._joined.clear()
            all_of_them = began >= next_round
            asked = list(self._waiting if all_of_them else self._fresh & self._waiting.keys())
            self._fresh = set()
            found = await self._ask(asked)
            now = time.monotonic()
            if all_of_them or found:
                pause = SHORTEST if found else min(pause * GROWTH, LONGEST)
                next_round = now + max(pause, 2 * (now - began))
            elif asked:
                pause = SHORTEST
                next_round = min(next_round, now + max(pause, 2 * (now - began)))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_round - now + asyncio.get_running_loop().time()):
                    await self._joined.wait()

    async def _ask(self, run_ids: Sequence[UUID]) -> bool:
        """Resolve those that ended; True when there were any."""
        if not run_ids:
            return False
        try:
            return await self._resolve(run_ids)
        except psycopg.OperationalError as error:
            raise_unless_passing(error)
        await asyncio.sleep(OUTAGE)
        return False

    async def _resolve(self, run_ids: Sequence[UUID]) -> bool:
        found = False
        async with self._pool.connection() as conn:
            for chunk in chunks(run_ids, ASK):
                rows = await ended_runs(chunk).on(conn)
                found = found or bool(rows)
                for row in rows:
                    if row.status == "missing":
                        self._fail(row.run_id, no_run(row.run_id))
                for some in chunks([r.run_id for r in rows if r.status != "missing"], FETCH):
                    for run in await get_runs(some).on(conn):
                        if run.status != "started":  # somebody retried it in between
                            self._resolved(run)
        return found

    def _resolved(self, run: RunRow) -> None:
        for future in self._waiting.pop(run.run_id, ()):
            if not future.done():
                future.set_result(run)

    def _fail(self, run_id: UUID, error: Exception) -> None:
        for future in self._waiting.pop(run_id, ()):
            if not future.done():
                future.set_exception(error)

    def _fail_all(self, error: Exception) -> None:
        for run_id in list(self._waiting):
            self._fail(run_id, error)


async def first_of(queue: asyncio.Queue[Future], rest: float | None) -> Future | None:
    """What is there, also when the time is over; None when there is nothing in time."""
    with suppress(asyncio.QueueEmpty):
        return queue.get_nowait()
    with suppress(TimeoutError):
        async with asyncio.timeout(rest):
            return await queue.get()
    return None


def chunks(ids: Iterable[UUID], size: int) -> Iterable[list[UUID]]:
    rest = iter(ids)
    while chunk := list(islice(rest, size)):
        yield chunk
