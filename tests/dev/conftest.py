"""Homes for embedded servers, and processes that use them."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepwell.dev.postgres import EmbeddedPostgres
from tests.dev.processes import Processes


@contextmanager
def temporary_home() -> Generator[Path]:
    top = Path(tempfile.mkdtemp(prefix="stepwell-dev-", dir="/tmp"))
    top.chmod(0o755)
    try:
        yield top / "home"
    finally:
        EmbeddedPostgres(top / "home").stop()
        shutil.rmtree(top, ignore_errors=True)


@pytest.fixture
def new_home() -> Generator[Path]:
    """A place where no server has been yet."""
    with temporary_home() as home:
        yield home


@pytest.fixture(scope="module")
def used_home() -> Generator[Path]:
    with temporary_home() as home:
        with EmbeddedPostgres(home):
            pass
        yield home


@pytest.fixture
def home(used_home: Path) -> Path:
    """A place with data, and no server running."""
    EmbeddedPostgres(used_home).stop()
    return used_home


@pytest.fixture
def processes() -> Generator[Processes]:
    """Other processes, none of which outlives its test."""
    with Processes() as processes:
        yield processes


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
