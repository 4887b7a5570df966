"""What the tests of the testing kit share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg

from stepwell import Stepwell, job
from stepwell.testing import Kit
from tests.db.invariants import broken

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)
Opens = Callable[..., AbstractAsyncContextManager[Kit]]


def kits_on(dsn: str) -> Opens:
    """A kit on a fresh database, which must keep every invariant."""

    @asynccontextmanager
    async def opened(**parts: Any) -> AsyncGenerator[Kit]:
        async with Kit(Stepwell(**parts), dsn, now=NEW_YEAR) as kit:
            yield kit
            with psycopg.connect(dsn, autocommit=True) as conn:
                assert broken(conn) == []

    return opened


@job(queue="mail")
async def send(letter: int) -> int:
    return letter * 10
