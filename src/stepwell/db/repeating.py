"""The calls of a pool; the only retry on connection loss.

Every call of a client may be repeated: starts carry run ids made by the client and signals dedup
keys, and steering a run twice is doing it once. So a call whose connection broke is simply run
again.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection

from stepwell.db.call import Call, Row
from stepwell.db.patience import Patience
from stepwell.db.theirs import Theirs, on_theirs, together


class Repeating(ABC):
    """Calls on connections that are borrowed for them."""

    _timeout: float

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, call: Call[Row], /, conn: Theirs | None = None) -> list[Row]:
        """Run a call that may be repeated; with `conn` once, inside the caller's transaction."""
        return (await self.run_all([call], conn))[0]

    async def run_all(
        self, calls: Sequence[Call[Row]], conn: Theirs | None = None
    ) -> list[list[Row]]:
        """Run calls in one transaction: all of them count, or none does."""
        if not calls:
            return []
        if conn is not None:
            return await on_theirs(calls, conn)
        patience = Patience(self._timeout)
        while True:
            try:
                async with self.connection() as ours:
                    return await together(calls, ours)
            except psycopg.OperationalError as error:
                if pause := patience.after(error):
                    await asyncio.sleep(pause)

    @abstractmethod
    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Borrow a connection."""

    @abstractmethod
    async def close(self) -> None:
        """Close what is at rest."""
