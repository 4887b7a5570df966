# made by tools/sync.py out of client/gathering.py: change that, and run `python -m tools.sync`
"""Wait for many runs at once. For SyncClient."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeVar
from uuid import UUID

from stepwell.client.identity import Named, ids_of
from stepwell.client.reading import RunInfo, ended_now, info_of, result_of
from stepwell.client.sync.run import SyncRun
from stepwell.client.sync.session import SyncSession
from stepwell.db.inspect import RunRow, get_runs

Out = TypeVar("Out")


class SyncGathering:
    """However many runs are waited for, Postgres is asked one question for all."""

    _session: SyncSession

    def wait_all(self, runs: Iterable[Named], timeout: float | None = None) -> Sequence[RunInfo]:
        """These runs, in this order, once all have ended, however they ended. RunTimeout when that
        takes longer than `timeout` seconds, NotFound when one does not exist."""
        ids = ids_of(runs)
        ended = {row.run_id: row for row in self._each_ended(ids, timeout)}
        return [info_of(ended[run_id]) for run_id in ids]

    def results(self, runs: Iterable[SyncRun[Out]], timeout: float | None = None) -> list[Out]:
        """The outputs of these runs, in this order, once all have ended. RunFailed or RunCancelled
        for the first of them that did not complete."""
        handles = list(runs)
        rows = self._each_ended(ids_of(handles), timeout)
        ended = {row.run_id: row for row in rows}
        return [result_of(ended[run.id], run.read) for run in handles]

    def as_completed(
        self, runs: Iterable[SyncRun[Out]], timeout: float | None = None
    ) -> Iterator[SyncRun[Out]]:
        """The handles of these runs as they end, however they end: `run.result()` of each
        takes no waiting. RunTimeout when they take longer than `timeout` seconds together."""
        handles = {run.id: run for run in runs}
        for row in self._each_ended(list(handles), timeout):
            yield handles[row.run_id]

    def _each_ended(self, ids: Sequence[UUID], timeout: float | None) -> Generator[RunRow]:
        if timeout is None or timeout > 0:
            for row in self._session.waiter.each_ended(ids, timeout):
                yield row
            return
        for row in ended_now(ids, self._session.pool.run(get_runs(ids)), timeout):
            yield row
