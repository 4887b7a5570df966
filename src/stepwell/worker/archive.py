"""Hand ended runs to the app's archive, and let them go when it has them. No transaction is open
while it works; an error of it costs nothing but time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

import psycopg

from stepwell.db.archive import Batch, end_archive, take_archive
from stepwell.db.call import Call
from stepwell.db.link import Link
from stepwell.define.archive import Archive, ArchivedRun
from stepwell.define.function import is_async
from stepwell.observe.emit import emit
from stepwell.observe.events import ArchiveFailed, RunNotArchived, RunsArchived
from stepwell.worker.chores import BREATH
from stepwell.worker.threads import Threads

AGAIN = 60.0  # seconds after an error until others of the same flow are tried
Row = TypeVar("Row")


class Runs(Protocol):
    """Whatever runs a call."""

    async def run(self, call: Call[Row], /) -> list[Row]: ...


class Archivist:
    """Archives for one worker, one batch after the other."""

    def __init__(
        self, archive: Archive, worker_id: UUID, slugs: Callable[[], Sequence[str]]
    ) -> None:
        self._archive = archive
        self._worker_id = worker_id
        self._slugs = slugs
        self._threads = Threads(1, lambda _token, _change: None)

    async def run(
        self, connected: Callable[[], AbstractAsyncContextManager[Link]], days: float
    ) -> None:
        """For as long as the worker lives."""
        try:
            while True:
                async with connected() as link:
                    rest = await self._round(link, days)
                await asyncio.sleep(rest)
        finally:
            self.close()

    def close(self) -> None:
        self._threads.close()

    async def take(self, runs: Runs, days: float, **options: Any) -> Batch:
        call = take_archive(self._slugs(), self._worker_id, days, **options)
        [batch] = await runs.run(call)
        for run_id, reason in zip(batch.refused or (), batch.reasons or (), strict=True):
            emit(RunNotArchived(batch.flow_slug or "", run_id, reason))
        return batch

    async def hand_over(self, runs: Runs, batch: Batch) -> int:
        """Call their function; once it returned the runs go. Answers how many."""
        assert batch.flow_slug is not None
        if not batch.run_ids:
            return 0
        began = time.perf_counter()
        await self._call([ArchivedRun.read(each) for each in batch.documents or ()])
        seconds = time.perf_counter() - began
        call = end_archive(self._worker_id, batch.flow_slug, batch.run_ids, batch.ended or ())
        [gone] = await runs.run(call)
        emit(RunsArchived(batch.flow_slug, len(batch.run_ids), gone.runs, seconds))
        return gone.runs

    async def _round(self, link: Link, days: float) -> float:
        """Answers with the seconds until there is more to do."""
        while True:
            began = time.monotonic()
            try:
                batch = await self.take(link, days)
            except psycopg.Error as error:
                emit(ArchiveFailed("", 0, type(error).__name__, str(error).strip()))
                return AGAIN
            if batch.flow_slug is None:
                return batch.again
            try:
                await self.hand_over(link, batch)
            except Exception as error:  # whatever theirs may raise
                said = (type(error).__name__, str(error).strip())
                emit(ArchiveFailed(batch.flow_slug, len(batch.run_ids), *said))
                await link.run(end_archive(self._worker_id, batch.flow_slug, pause=AGAIN))
            await asyncio.sleep(max(time.monotonic() - began, BREATH))  # half of the time at most

    async def _call(self, runs: list[ArchivedRun]) -> None:
        if is_async(self._archive):
            made = self._archive(runs)
        else:
            made = await self._threads.run(partial(self._archive, runs), lambda: None, 0)
        if made is not None:
            await made
