# made by tools/sync.py out of client/tailing.py: change that, and run `python -m tools.sync`
"""The log lines of a run as they come."""

from __future__ import annotations

import time
from collections.abc import Generator

import psycopg

from stepwell.client.logs import LogLine, Tail
from stepwell.client.reading import no_run
from stepwell.db.connect import raise_unless_passing
from stepwell.db.inspect import ended_runs
from stepwell.db.sync.pool import SyncPool

SHORTEST = 0.1
LONGEST = 0.5
GROWTH = 1.5
OUTAGE = 0.5


def followed(pool: SyncPool, tail: Tail) -> Generator[LogLine]:
    """Lines as they are written, until the run has ended. An outage only makes it later."""
    run_id, pause = tail.wanted.run_id, SHORTEST
    while True:
        try:
            with pool.connection() as conn:
                ended = ended_runs([run_id]).on_sync(conn)
                lines = tail.take(tail.call().on_sync(conn))
        except psycopg.OperationalError as error:
            raise_unless_passing(error)
            time.sleep(OUTAGE)
            continue
        if ended and ended[0].status == "missing":
            raise no_run(run_id)
        yield from lines
        if tail.behind:
            continue
        if ended:
            return
        pause = SHORTEST if lines else min(pause * GROWTH, LONGEST)
        time.sleep(pause)
