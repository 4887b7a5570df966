"""What a client and its handles share."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.client.feed import Feed
from stepwell.client.waiter import Waiter
from stepwell.client.wakes import Wakes
from stepwell.db.pool import Pool
from stepwell.settings import MAX_PAYLOAD


@dataclass(frozen=True, slots=True)
class Session:
    """What the handles of one client share. `actor` is who steers, unless a call says so."""

    pool: Pool
    waiter: Waiter
    wakes: Wakes
    feed: Feed
    actor: str | None = None
    max_payload: int = MAX_PAYLOAD

    async def close(self) -> None:
        """Send what was put off, and close what is at rest."""
        await self.waiter.close()  # async only
        await self.feed.close()  # async only
        await self.wakes.close()
        await self.pool.close()
