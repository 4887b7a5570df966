"""A workshop for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio

from .workshop import Workshop, workshop_on


@pytest_asyncio.fixture
async def workshop(dsn: str) -> AsyncGenerator[Workshop]:
    """A fresh database with a client, and workers for the asking."""
    async with workshop_on(dsn) as workshop:
        yield workshop
