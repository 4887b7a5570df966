# made by tools/sync.py out of client/settling.py: change that, and run `python -m tools.sync`
"""What was under way when somebody began to read the events of all runs."""

from __future__ import annotations

import time

from stepwell.client.events import SETTLING, SHORTEST
from stepwell.db.events import transactions
from stepwell.db.sync.pool import SyncPool


def settle(pool: SyncPool) -> None:
    """Wait for transactions that began before anybody could know of the reader, but not long."""
    deadline = time.monotonic() + SETTLING
    [before] = [now] = pool.run(transactions())
    while now.oldest < before.next and time.monotonic() < deadline:
        time.sleep(SHORTEST)
        [now] = pool.run(transactions())
