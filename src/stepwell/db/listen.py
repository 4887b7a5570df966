"""Wake-ups between processes: NOTIFY with the name of a queue. Never needed, only faster."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from stepwell.db.call import Call
from stepwell.db.connect import connect_options

CHANNEL = "stepwell"


@dataclass(frozen=True, slots=True)
class Woken:
    queue: str


def wake(queues: Sequence[str]) -> Call[Woken]:
    """Tell every worker that listens that these queues have something to do."""
    return Call(
        "select queue from unnest(%s::text[]) as q (queue), pg_notify(%s, queue) sent",
        (list(queues), CHANNEL),
        Woken,
    )


@asynccontextmanager
async def listening(dsn: str) -> AsyncGenerator[AsyncIterator[str]]:
    """A connection of its own that yields queue names. Through a transaction pooler none come."""
    options = connect_options(dsn, 10, "stepwell listen")
    conn: AsyncConnection[Any] = await AsyncConnection.connect(**options)
    async with conn:
        await conn.execute(f"listen {CHANNEL}")
        yield (notice.payload async for notice in conn.notifies())
