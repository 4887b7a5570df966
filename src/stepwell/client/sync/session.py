# made by tools/sync.py out of client/session.py: change that, and run `python -m tools.sync`
"""What a client and its handles share."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.client.sync.feed import SyncFeed
from stepwell.client.sync.waiter import SyncWaiter
from stepwell.client.wakes import SyncWakes
from stepwell.db.sync.pool import SyncPool
from stepwell.settings import MAX_PAYLOAD


@dataclass(frozen=True, slots=True)
class SyncSession:
    """What the handles of one client share. `actor` is who steers, unless a call says so."""

    pool: SyncPool
    waiter: SyncWaiter
    wakes: SyncWakes
    feed: SyncFeed
    actor: str | None = None
    max_payload: int = MAX_PAYLOAD

    def close(self) -> None:
        """Send what was put off, and close what is at rest."""
        self.wakes.close()
        self.pool.close()
