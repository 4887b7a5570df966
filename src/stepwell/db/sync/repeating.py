# made by tools/sync.py out of db/repeating.py: change that, and run `python -m tools.sync`
"""The calls of a pool; the only retry on connection loss.

Every call of a client may be repeated: starts carry run ids made by the client and signals dedup
keys, and steering a run twice is doing it once. So a call whose connection broke is simply run
again.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import psycopg
from psycopg import Connection

from stepwell.db.call import Call, Row
from stepwell.db.patience import Patience
from stepwell.db.theirs import TheirsSync, on_theirs_sync, together_sync


class SyncRepeating(ABC):
    """Calls on connections that are borrowed for them."""

    _timeout: float

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, call: Call[Row], /, conn: TheirsSync | None = None) -> list[Row]:
        """Run a call that may be repeated; with `conn` once, inside the caller's transaction."""
        return self.run_all([call], conn)[0]

    def run_all(
        self, calls: Sequence[Call[Row]], conn: TheirsSync | None = None
    ) -> list[list[Row]]:
        """Run calls in one transaction: all of them count, or none does."""
        if not calls:
            return []
        if conn is not None:
            return on_theirs_sync(calls, conn)
        patience = Patience(self._timeout)
        while True:
            try:
                with self.connection() as ours:
                    return together_sync(calls, ours)
            except psycopg.OperationalError as error:
                if pause := patience.after(error):
                    time.sleep(pause)

    @abstractmethod
    def connection(self) -> AbstractContextManager[Connection[Any]]:
        """Borrow a connection."""

    @abstractmethod
    def close(self) -> None:
        """Close what is at rest."""
