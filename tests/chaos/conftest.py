"""A crew of worker processes on a database of their own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.engine.workshop import Workshop, workshop_on

from .crew import Crew


@pytest.fixture
def crew(dsn: str, tmp_path: Path) -> Generator[Crew]:
    with Crew(dsn, tmp_path) as crew:
        yield crew


@pytest_asyncio.fixture
async def workshop(dsn: str) -> AsyncGenerator[Workshop]:
    """The client's side."""
    async with workshop_on(dsn) as workshop:
        yield workshop
