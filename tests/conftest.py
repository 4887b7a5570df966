"""A Postgres for every test that wants one: ask for `dsn`, a fresh database with the schema in it.

`server` is the newest Postgres. A file whose tests shall run on both ends of what we support says

    @pytest.fixture(scope="session")
    def server(any_server: DatabaseServer) -> DatabaseServer:
        return any_server
"""

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

from stepwell.dev.postgres import EmbeddedPostgres
from tests.servers import DatabaseServer, of_major

OLD = 86_400.0  # seconds
PLENTY = 4 * 2**30  # bytes; a run of all tests needs less than half of it


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers of xdist inherit it
        home = tempfile.mkdtemp(prefix="stepwell-tests-", dir=roomy_folder())
        os.chmod(home, 0o711)
        os.environ["STEPWELL_TEST_HOME"] = home


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput") or "STEPWELL_TEST_HOME" not in os.environ:
        return
    if dsn := os.environ.get("STEPWELL_TEST_DSN"):
        server = DatabaseServer(dsn)
        server.drop_all()
        server.close()
    home = Path(os.environ.pop("STEPWELL_TEST_HOME"))
    for each in filter(Path.is_dir, home.iterdir()):
        EmbeddedPostgres(each).stop()
    shutil.rmtree(home, ignore_errors=True)


def roomy_folder() -> str:
    """With a short name, for sockets. In memory where there is plenty: a fresh database is a copy
    of a few hundred files, and a busy disk takes ten times as long for it."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK):
        forget_killed_runs(memory)
        found = os.statvfs(memory)
        plenty = found.f_bavail * found.f_frsize > PLENTY
        if plenty and not found.f_flag & os.ST_NOEXEC:
            return str(memory)
    return "/tmp"


def forget_killed_runs(memory: Path) -> None:
    """Nobody cleaned up after them."""
    for home in memory.glob("stepwell-tests-*"):
        with suppress(FileNotFoundError):
            if home.stat().st_mtime < time.time() - OLD:
                shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Generator[DatabaseServer]:
    """The newest Postgres."""
    with of_major("18") as found:
        assert found is not None
        yield found


@pytest.fixture(scope="session", params=["18", "15"])
def any_server(request: pytest.FixtureRequest) -> Generator[DatabaseServer]:
    """Both ends of what we support."""
    with of_major(request.param) as found:
        if found is None:
            pytest.skip(f"no Postgres {request.param} on this system")
        yield found


@pytest.fixture  # of the file's own server, so no wider than a test
def template(server: DatabaseServer) -> str:
    """The name of a database with the schema, to clone from."""
    return server.template


@pytest.fixture
def dsn(server: DatabaseServer, template: str) -> Generator[str]:
    """A fresh database with the schema."""
    with server.database(template) as fresh:
        yield fresh


@pytest.fixture
def empty_dsn(server: DatabaseServer) -> Generator[str]:
    """A fresh database without the schema."""
    with server.database() as fresh:
        yield fresh
