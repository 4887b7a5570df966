"""A Postgres for every test that wants one: ask for `dsn`, a fresh database with the schema in it.

`server` is the newest Postgres. A file whose tests shall run on both ends of what we support says

    @pytest.fixture(scope="session")
    def server(any_server: DatabaseServer) -> DatabaseServer:
        return any_server
"""

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from stepwell.dev.postgres import EmbeddedPostgres
from tests.servers import DatabaseServer, of_major


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers of xdist inherit it
        home = tempfile.mkdtemp(prefix="stepwell-tests-", dir="/tmp")  # short, and root's too
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
    for each in home.iterdir():
        EmbeddedPostgres(each).stop()
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
