"""What a handler asks the database about its own run while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

from stepwell.db.children import ChildRow, children_of, joined_by
from stepwell.db.pool import Pool
from stepwell.db.signal import signals_of
from stepwell.define.context import ChildInfo, Signal
from stepwell.define.payload import decoder
from stepwell.settings import Settings

Answer = TypeVar("Answer")

MOST = 1000  # rows of one answer
CONNECTIONS = 2

_any = decoder(Any)


class Asking:
    """Reads for handlers, over connections that are opened when the first one asks."""

    def __init__(self, settings: Settings) -> None:
        self._pool = Pool(
            settings.dsn,
            max_size=CONNECTIONS,
            timeout=settings.connect_timeout,
            application_name="stepwell worker",
        )
        self._loop = asyncio.get_running_loop()
        self._home = threading.get_ident()

    async def signals(self, run_id: UUID, limit: int) -> list[Signal]:
        rows = await self._pool.run(signals_of(run_id, capped(limit)))
        return [Signal(row.id, row.name, _any(row.payload), row.sent_at) for row in rows]

    async def children(self, run_id: UUID, limit: int) -> list[ChildInfo]:
        rows = await self._pool.run(children_of(run_id, capped(limit)))
        return [info_of(row) for row in rows]

    async def joined(self, message_id: int, most: int) -> list[ChildRow]:
        """The children that a task waits or waited for, in the order in which they were given."""
        return await self._pool.run(joined_by(message_id, most))

    def wait(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        """From the thread of a sync handler: what the loop answers."""
        if threading.get_ident() == self._home:
            asked.close()
            raise RuntimeError("ctx.wait(...) is for sync handlers; in an async one, await it")
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()

    async def close(self) -> None:
        await self._pool.close()


def capped(limit: int) -> int:
    """At most MOST rows, however many are asked for."""
    if limit < 1:
        raise ValueError(f"limit is {limit}; ask for 1 to {MOST}")
    return min(limit, MOST)


def info_of(row: ChildRow) -> ChildInfo:
    return ChildInfo(
        run_id=row.run_id,
        slug=row.flow_slug,
        kind=row.kind,
        status=row.status,
        output=None if row.output is None else _any(row.output),
        error_message=row.error_message,
        key=row.key,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
