"""A Postgres of one's own, which may be killed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from stepwell.dev.postgres import EmbeddedPostgres

from .crew import until


class Postgres:
    """A server with fsync."""

    def __init__(self, home: Path) -> None:
        self._embedded = EmbeddedPostgres(home)
        self.dsn = self._embedded.start()

    async def restart(self) -> None:
        """What `pg_ctl restart -m immediate` does: no farewell, no checkpoint, then recovery."""
        pid = self._embedded.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)
        await until(lambda: self._embedded.status().pid != pid, lambda: "Postgres lives")
        await asyncio.to_thread(self._embedded.start)

    def stop(self) -> None:
        self._embedded.stop()
