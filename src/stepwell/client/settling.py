"""What was under way when somebody began to read the events of all runs."""

from __future__ import annotations

import asyncio
import time

from stepwell.client.events import SETTLING, SHORTEST
from stepwell.db.events import transactions
from stepwell.db.pool import Pool


async def settle(pool: Pool) -> None:
    """Wait for transactions that began before anybody could know of the reader, but not long."""
    deadline = time.monotonic() + SETTLING
    [before] = [now] = await pool.run(transactions())
    while now.oldest < before.next and time.monotonic() < deadline:
        await asyncio.sleep(SHORTEST)
        [now] = await pool.run(transactions())
