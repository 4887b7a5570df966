"""The kit in somebody else's project: one line in its conftest.py, and a hook for its tables."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from stepwell.db.databases import Databases, home_of, named, names_on
from stepwell.errors import StepwellError
from stepwell.testing.database import NoTestServer, database, use_template
from tests.servers import DatabaseServer

FILES = {
    "pytest.ini": """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
""",
    "conftest.py": """
import psycopg

pytest_plugins = ["stepwell.testing.plugin"]


async def pytest_stepwell_template(dsn):
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("create table fruits (name text primary key)")
        await conn.execute("insert into fruits values ('fig')")
""",
    "shop.py": """
import fcntl
import os

import psycopg

from stepwell import Flow, Stepwell, job

PRICES = {"fig": 3}
stock = Flow[str, dict]("stock", max_attempts=1)


@stock.step
def count(flow_input: str) -> int:
    return PRICES[flow_input]


@job(max_attempts=1)
async def add(dsn: str, name: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("insert into fruits values (%s)", [name])
        return (await (await conn.execute("select count(*) from fruits")).fetchone())[0]


app = Stepwell(flows=[stock], jobs=[add])
""",
    "test_async.py": """
import pytest

from shop import add, app, stock


@pytest.mark.parametrize("name", ["kiwi", "lime"])
async def test_a_table_of_ours_is_as_the_hook_left_it(stepwell_kit, stepwell_dsn, name):
    async with stepwell_kit(app) as kit:
        run = await kit.client.enqueue(add.call(stepwell_dsn, name))
        await kit.drain()
        await kit.expect(run).completed(2)


async def test_what_fails_is_shown(stepwell_kit):
    async with stepwell_kit(app) as kit:
        run = await kit.client.start(stock, "pear", key="stock:pear")
        await kit.drain()
        await kit.expect(run).completed()
""",
    "test_sync.py": """
from shop import app, stock


def test_a_test_that_is_not_async(stepwell_sync_kit, monkeypatch):
    monkeypatch.setitem(__import__("shop").PRICES, "pear", 7)
    with stepwell_sync_kit(app) as kit:
        run = kit.client.start(stock, "pear")
        kit.drain().assert_ran(stock.steps["count"], times=1)
        kit.expect(run).completed({"count": 7})


def test_a_client_alone(stepwell_client):
    assert stepwell_client.list() == []
""",
    "test_unittest.py": """
import unittest

from shop import app, stock
from stepwell.testing import Kit, SyncKit


class Sync(unittest.TestCase):
    def setUp(self):
        self.kit = self.enterContext(SyncKit(app))

    def test_it(self):
        run = self.kit.client.start(stock, "fig")
        self.kit.drain()
        self.assertEqual(run.result(timeout=0), {"count": 3})


class Async(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.kit = await self.enterAsyncContext(Kit(app))

    async def test_it(self):
        async with self.kit.connection() as conn:
            found = await (await conn.execute("select name from fruits")).fetchall()
        self.assertEqual(found, [("fig",)])
""",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        tmp_path.joinpath(name).write_text(text)
    return tmp_path


@pytest.mark.timeout(300)
def test_a_project_of_somebody_else_s(project: Path, server: DatabaseServer) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "."],
        cwd=project,
        env=environ | {"STEPWELL_TEST_DSN": server.maintenance},
        capture_output=True,
        text=True,
        timeout=280,
    )
    out = said.stdout
    assert "1 failed, 6 passed" in out, out + said.stderr
    [shown] = [part for part in out.split("AssertionError: ")[1:] if "picture" not in part][:1]
    assert "of 'stock' to have completed, and it failed" in shown
    assert "key      stock:pear" in shown
    assert "error    step count: KeyError: 'pear'" in shown
    assert "input    pear" in shown
    assert "count[0] attempt 1" in shown and "return PRICES[flow_input]" in shown
    assert "test_async.py:19: AssertionError" in out or "test_async.py:20: " in out, out
    with psycopg.connect(server.maintenance) as conn:
        assert [name for name in names_on(conn) if "stepwell_own" in name] == []


@pytest.fixture(autouse=True)
def one_at_a_time() -> Iterator[None]:
    """They count the templates on a server that all processes of a test run share."""
    with (Path(os.environ["STEPWELL_TEST_HOME"]) / "templates.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture
def own_server(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseServer]:
    monkeypatch.setenv("STEPWELL_TEST_DSN", server.maintenance)
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)  # each has a template of its own
    yield server
    use_template(None)


def test_a_template_that_cannot_be_made_says_why(own_server: DatabaseServer) -> None:
    def prepare(dsn: str) -> None:
        with psycopg.connect(dsn) as conn:
            conn.execute("create table fruits (name text, name text)")

    use_template(prepare)
    with pytest.raises(StepwellError, match=r'template failed: column "name" specified more than'):
        with database():
            raise AssertionError("there was one")


def test_a_template_lasts_as_long_as_somebody_is_on_it(own_server: DatabaseServer) -> None:
    calls: list[str] = []

    async def prepare(dsn: str) -> None:
        calls.append(dsn)
        open_still.append(await psycopg.AsyncConnection.connect(dsn))

    open_still: list[psycopg.AsyncConnection] = []
    one, other = (Databases(own_server.maintenance, prepare) for _ in range(2))
    other._own = one._own  # pyright: ignore[reportPrivateUsage]
    with one.fresh(), one.fresh(), other.fresh(), other.fresh():
        assert len(calls) == 1
    one.close()
    assert templates(own_server)
    with other.fresh():
        pass
    other.close()
    assert not templates(own_server)
    open_still[0].pgconn.finish()


def test_what_a_killed_run_left_is_dropped(own_server: DatabaseServer) -> None:
    left = [
        f"{kind}_{home_of('postgres')}_0123456789ab"
        for kind in ("stepwell_own", "part_of_stepwell_own")
    ]
    with psycopg.connect(own_server.maintenance, autocommit=True) as conn:
        for name in left:
            conn.execute(named("create database {}", name))
    Databases(own_server.maintenance).close()
    with psycopg.connect(own_server.maintenance) as conn:
        assert not set(left).intersection(names_on(conn))


def test_what_lives_by_another_database_of_the_server_is_left_alone(
    own_server: DatabaseServer, empty_dsn: str
) -> None:
    """A lock there cannot be seen from here."""
    ways = (own_server.maintenance, empty_dsn)
    here, there = map(Databases, ways)
    with here.fresh() as one, there.fresh() as other:
        for maintenance in ways:
            Databases(maintenance).close()
        for dsn in (one, other):
            psycopg.connect(dsn).close()
    here.close()
    there.close()


def test_who_asks_twice_finds_the_next_one_made(own_server: DatabaseServer) -> None:
    databases = Databases(own_server.maintenance)
    mark = ""
    for _ in range(2):
        with databases.fresh() as dsn:
            mark = str(conninfo_to_dict(dsn)["dbname"]).rpartition("_")[0]
    deadline = time.monotonic() + 30
    while not (spare := names_like(own_server, mark)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with databases.fresh() as dsn:
        assert [str(conninfo_to_dict(dsn)["dbname"])] == spare
    databases.close()
    assert names_like(own_server, mark) == []


def names_like(server: DatabaseServer, mark: str) -> list[str]:
    with psycopg.connect(server.maintenance) as conn:
        return [name for name in names_on(conn) if name.startswith(mark)]


def templates(server: DatabaseServer) -> list[str]:
    return names_like(server, "stepwell_own_")


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPWELL_TEST_DSN", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(NoTestServer, match="STEPWELL_TEST_DSN names a server and a role"):
        with database():
            raise AssertionError("there was one")
