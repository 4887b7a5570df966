"""What goes when it is old: a round of the sweep, when a test asks for it."""

from __future__ import annotations

from datetime import timedelta

from stepwell.db.archive import end_archive
from stepwell.db.pool import Pool
from stepwell.db.prune import prune
from stepwell.define.app import Stepwell
from stepwell.settings import Settings
from stepwell.testing.drain import Drain
from stepwell.worker.archive import Archivist

AT_ONCE = timedelta(microseconds=1)  # a round begins whenever the clock has moved


class Sweeping:
    """The sweep of a worker, and its archive."""

    def __init__(self, app: Stepwell, pool: Pool, drain: Drain) -> None:
        self._pool = pool
        self._days = Settings().retention
        self._archive = app.archive_hook
        self._drain = drain

    async def run(self) -> int:
        """How many runs went."""
        gone = await self._archived()
        while True:
            [swept] = await self._pool.run(prune(self._days, AT_ONCE))
            gone += swept.deleted
            if swept.again:
                return gone

    async def _archived(self) -> int:
        if self._archive is None:
            return 0
        archivist = Archivist(self._archive, self._drain.worker_id, self._drain.archived)
        gone = 0
        try:
            while True:
                batch = await archivist.take(self._pool, self._days, every=AT_ONCE)
                if batch.flow_slug is None:
                    return gone
                try:
                    gone += await archivist.hand_over(self._pool, batch)
                except Exception:
                    done = end_archive(self._drain.worker_id, batch.flow_slug)
                    await self._pool.run(done)
                    raise
        finally:
            archivist.close()
