"""The testing kit: a month in a second, and the databases that it makes."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
import time
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from stepwell import Done, Flow, Machine, MachineContext, SchemaError, Spawn, Stepwell, step
from stepwell.db.databases import Databases, names_on
from stepwell.testing import Kit, Tally
from tests.servers import DatabaseServer

from .kit_hands import send
from .timing import undisturbed

# --- a month in a second ---


class Parcel(Machine):
    number: int

    @step(initial=True)
    async def pack(self, ctx: MachineContext) -> Spawn:
        letters = [send.call(letter=self.number), send.call(letter=self.number + 1)]
        return Spawn(letters, then=self.close)

    @step
    async def close(self, ctx: MachineContext) -> Done:
        return Done(sum(child.output for child in await ctx.children()))


def order_flow() -> Flow[int, Any]:
    order = Flow[int, Any]("order")

    @order.step
    async def ship(flow_input: int) -> Spawn:
        return Spawn([Parcel(number=n) for n in range(flow_input)])

    paid = order.signal("paid", after=ship)
    cooling = order.sleep("cooling", timedelta(days=30), after=paid)

    @order.step(cooling)
    async def settle(ship: list[int], paid: dict[str, int]) -> int:
        return sum(ship) + paid["amount"]

    return order


async def test_a_month_of_a_flow_with_machines_and_jobs_passes_in_a_second(dsn: str) -> None:
    order = order_flow()
    app = Stepwell(flows=[order], machines=[Parcel], jobs=[send])

    async def month() -> float:
        began, first = time.perf_counter(), kit.now
        run = await kit.client.start(order, 3, key="order:1")
        assert await kit.drain() == Tally(steps=14, completed=7, done=3, spawned=4)
        [waits] = await kit.waiting_for(run)
        assert waits.awaits == ["paid"]
        await kit.client.signal("order:1", "paid", {"amount": 7})
        assert await kit.drain() == Tally(steps=1, completed=1)
        assert await kit.next_due() == first + timedelta(days=30)
        assert await kit.advance(days=29) == Tally()
        assert (await kit.run("order:1")).status == "started"
        assert await kit.advance(days=1) == Tally(steps=2, completed=2)
        assert await run.result(timeout=1) == {"settle": 97}
        took = time.perf_counter() - began
        assert (await run.info()).ended_at == first + timedelta(days=30) == kit.now
        return took

    async with Kit(app, dsn) as kit:
        assert await undisturbed(dsn, 1, month) < 1


# --- databases ---


@pytest.fixture
def own_server(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> DatabaseServer:
    """The server of this test run is the one that kits make their databases on."""
    monkeypatch.setenv("STEPWELL_TEST_DSN", server.maintenance)
    return server


async def test_a_kit_without_a_dsn_has_a_database_of_its_own(own_server: DatabaseServer) -> None:
    async with Kit(Stepwell(jobs=[send])) as kit, Kit(Stepwell(jobs=[send])) as other:
        run = await kit.client.enqueue(send.call(letter=1))
        assert await other.drain() == Tally()
        assert await kit.drain() == Tally(steps=1, completed=1)
        assert await run.result(timeout=0) == 10
        async with kit.connection() as conn:
            dsn = conn.info.dsn
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dsn)


MAKES_ONE_AND_DIES = """
import os, sys
from stepwell.db.databases import Databases
with Databases(sys.argv[1]).fresh() as dsn:
    print(dsn, flush=True)
    os._exit(1)
"""


def test_databases_of_a_killed_process_are_dropped_by_the_next(server: DatabaseServer) -> None:
    command = [sys.executable, "-c", MAKES_ONE_AND_DIES, server.maintenance]
    said = subprocess.run(command, capture_output=True, text=True, timeout=50).stdout
    left = str(conninfo_to_dict(said)["dbname"])
    living = Databases(server.maintenance)
    with living.fresh() as dsn:
        kept = str(conninfo_to_dict(dsn)["dbname"])
        Databases(server.maintenance).close()
        assert {left, kept}.intersection(databases_on(server)) == {kept}
    assert kept not in databases_on(server)
    living.close()


def databases_on(server: DatabaseServer) -> list[str]:
    with psycopg.connect(server.maintenance) as conn:
        return names_on(conn)


A_TEST_OF_THEIRS = """
from datetime import UTC, datetime

from stepwell import Client, Stepwell, job

pytest_plugins = ["stepwell.testing.plugin"]


@job
async def add(a: int, b: int) -> int:
    return a + b


async def test_adding(stepwell_kit):
    async with stepwell_kit(Stepwell(jobs=[add]), now=datetime(2030, 1, 1, tzinfo=UTC)) as kit:
        run = await kit.client.enqueue(add.call(1, 2), delay=60)
        await kit.advance(minutes=1)
        assert await run.result(timeout=0) == 3


async def test_the_database(stepwell_dsn):
    async with Client(stepwell_dsn) as client:
        assert await client.list() == []
"""


THEIR_SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""


@pytest.mark.timeout(180)
def test_the_fixtures_work_on_an_embedded_server_of_their_own(tmp_path: Path) -> None:
    tmp_path.joinpath("test_theirs.py").write_text(A_TEST_OF_THEIRS)
    tmp_path.joinpath("pytest.ini").write_text(THEIR_SETTINGS)
    environ = {k: v for k, v in os.environ.items() if k != "STEPWELL_TEST_DSN"}
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "."],
        cwd=tmp_path,
        env=environ | {"STEPWELL_HOME": os.environ["STEPWELL_TEST_HOME"]},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert "2 passed" in said.stdout, said.stdout + said.stderr


async def test_a_database_without_the_schema_is_refused(empty_dsn: str) -> None:
    with pytest.raises(SchemaError, match="stepwell migrate"):
        async with Kit(Stepwell(), empty_dsn):
            raise AssertionError("it was opened")


@pytest.mark.parametrize("module", ["kit", "tally"])
def test_the_examples_of_the_docstrings_are_true(module: str) -> None:
    results = doctest.testmod(import_module(f"stepwell.testing.{module}"))
    assert results.attempted and not results.failed
