"""A crew of worker processes on a database of their own, and a Postgres that may be killed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
import pytest_asyncio
from psycopg import AsyncConnection

from stepwell import Client, Settings
from stepwell.db.migrate import migrate
from tests.engine.workshop import Workshop, workshop_on

from .crew import Crew
from .postgres import Postgres


@pytest.fixture
def crew(dsn: str, tmp_path: Path) -> Generator[Crew]:
    with Crew(dsn, tmp_path) as crew:
        yield crew


@pytest_asyncio.fixture
async def workshop(dsn: str) -> AsyncGenerator[Workshop]:
    """The client's side."""
    async with workshop_on(dsn) as workshop:
        yield workshop


@pytest.fixture
def postgres() -> Generator[Postgres]:
    top = Path(tempfile.mkdtemp(prefix="stepwell-chaos-", dir="/tmp"))
    top.chmod(0o755)
    server = Postgres(top / "home")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(top, ignore_errors=True)


@pytest_asyncio.fixture
async def restarted(postgres: Postgres) -> AsyncGenerator[Workshop]:
    """The client's side of that Postgres; a slow disk may keep it away for a while."""
    async with await AsyncConnection.connect(postgres.dsn, autocommit=True) as conn:
        await migrate(conn)
    settings = Settings(dsn=postgres.dsn, connect_timeout=60)
    async with Client(settings=settings) as client:
        workshop = Workshop(postgres.dsn, client)
        yield workshop
        assert workshop.broken() == []
