"""A workshop for each test that wants one, or a command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from stepwell.cli.main import run

from .cli_programs import Answer, Command
from .workshop import Workshop, workshop_on


@pytest_asyncio.fixture
async def workshop(dsn: str) -> AsyncGenerator[Workshop]:
    """A fresh database with a client, and workers for the asking."""
    async with workshop_on(dsn) as workshop:
        yield workshop


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder of its own, and nothing around the test says which database is meant."""
    for name in ("DATABASE_URL", "STEPWELL_DSN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STEPWELL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(alone: None, dsn: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line on the test's database: exit code, stdout, stderr."""

    def command(*words: str) -> Answer:
        code = run([*words, "--dsn", dsn])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command
