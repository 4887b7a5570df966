"""The log lines of a run as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import psycopg

from stepwell.client.logs import LogLine, Tail
from stepwell.client.reading import no_run
from stepwell.db.connect import raise_unless_passing
from stepwell.db.inspect import ended_runs
from stepwell.db.pool import Pool

SHORTEST = 0.1
LONGEST = 0.5
GROWTH = 1.5
OUTAGE = 0.5


async def followed(pool: Pool, tail: Tail) -> AsyncGenerator[LogLine]:
    """Lines as they are written, until the run has ended. An outage only makes it later."""
    run_id, pause = tail.wanted.run_id, SHORTEST
    while True:
        try:
            async with pool.connection() as conn:
                ended = await ended_runs([run_id]).on(conn)
                lines = tail.take(await tail.call().on(conn))
        except psycopg.OperationalError as error:
            raise_unless_passing(error)
            await asyncio.sleep(OUTAGE)
            continue
        if ended and ended[0].status == "missing":
            raise no_run(run_id)
        for line in lines:
            yield line
        if tail.behind:
            continue
        if ended:
            return
        pause = SHORTEST if lines else min(pause * GROWTH, LONGEST)
        await asyncio.sleep(pause)
