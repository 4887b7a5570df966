"""What Waiter is, with blocking calls: each caller asks for what it waits for."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from uuid import UUID

import psycopg

from stepwell.client.reading import no_run
from stepwell.client.waiter import ASK, FETCH, GROWTH, LONGEST, OUTAGE, SHORTEST, chunks
from stepwell.db.connect import raise_unless_passing
from stepwell.db.inspect import RunRow, ended_runs, get_runs
from stepwell.db.sync.pool import SyncPool
from stepwell.errors import RunTimeout


class SyncWaiter:
    """Threads may share it. An outage of the database only makes it later."""

    def __init__(self, pool: SyncPool) -> None:
        self._pool = pool

    def ended(self, run_id: UUID, timeout: float | None = None) -> RunRow:
        """The run once it has ended, however it ended; NotFound when there is none, RunTimeout when
        it has not in time."""
        [row] = self.each_ended([run_id], timeout)
        return row

    def each_ended(
        self, run_ids: Iterable[UUID], timeout: float | None = None
    ) -> Generator[RunRow]:
        """These runs, each once, as they end; RunTimeout when some have not in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting = dict.fromkeys(run_ids)
        pause = SHORTEST
        while waiting:
            found = self._ended_among(list(waiting))
            for row in found or ():
                del waiting[row.run_id]
                yield row
            rest = LONGEST if deadline is None else deadline - time.monotonic()
            if waiting and timeout is not None and rest <= 0:
                raise RunTimeout(next(iter(waiting)), timeout, len(waiting) - 1)
            if waiting:
                time.sleep(max(min(OUTAGE if found is None else pause, rest), 0))
                pause = SHORTEST if found else min(pause * GROWTH, LONGEST)

    def _ended_among(self, run_ids: Sequence[UUID]) -> list[RunRow] | None:
        """Those of these runs that have ended; None while the database is away."""
        rows: list[RunRow] = []
        try:
            with self._pool.connection() as conn:
                for chunk in chunks(run_ids, ASK):
                    ended = ended_runs(chunk).on_sync(conn)
                    for each in ended:
                        if each.status == "missing":
                            raise no_run(each.run_id)
                    for some in chunks([each.run_id for each in ended], FETCH):
                        rows += get_runs(some).on_sync(conn)
        except psycopg.OperationalError as error:
            raise_unless_passing(error)
            return None
        return [row for row in rows if row.status != "started"]  # somebody retried it in between
