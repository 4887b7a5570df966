"""What a migration does beside the work: while others write, again after it was cut off, once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from stepwell.db import build, crowd
from stepwell.db import migrate as migrating
from stepwell.db.build import builder, steps_left
from stepwell.db.files import Script
from stepwell.db.migrate import check, migrate, migrations, read_schema, to_build
from stepwell.errors import SchemaError
from tests.servers import DatabaseServer
from tests.unbuilt import LEFT, STEPS, UNBUILD

pytestmark = pytest.mark.timeout(90)
Connection = AsyncConnection[Any]
BOTH = Script(
    "9999_both.sql",
    "alter table pgflow.runs add column more text;\nalter table pgflow.flows add column more text;",
)
MIGRATE = """
import asyncio, sys
from psycopg import AsyncConnection
from stepwell.db.migrate import migrate
async def main():
    async with await AsyncConnection.connect(sys.argv[1], autocommit=True) as conn:
        await migrate(conn)
asyncio.run(main())
"""
WAITING: LiteralString = (  # for those who write; the index is in the catalogue, and not valid
    "select pid from pg_stat_progress_create_index"
    " where datname = current_database() and phase = 'waiting for writers before build'"
)
HELD_UP: LiteralString = (
    "select pid from pg_locks where not granted and locktype = 'relation'"
    " and database = (select oid from pg_database where datname = current_database())"
)
INVALID: LiteralString = "select count(*) from pg_index where not indisvalid"
DEFINED: LiteralString = """
    select coalesce(i.indexname, ''), coalesce(i.indexdef, '') from pg_indexes i
    where i.schemaname = 'pgflow'
    union all
    select c.conname, pg_get_constraintdef(c.oid) from pg_constraint c
    where c.connamespace = 'pgflow'::regnamespace
    order by 1, 2
"""


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PAUSE", 0.05)


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def spy(dsn: str) -> AsyncIterator[Connection]:
    """Looks on, in no transaction: in one it would see the first look again and again."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def used(conn: Connection) -> list[Any]:
    """`conn` is to a database that lacks what is built beside the work; how it is to be."""
    wanted = await rows(conn, DEFINED)
    await conn.execute(UNBUILD)
    assert await rows(conn, DEFINED) != wanted
    return wanted


async def rows(conn: Connection, query: LiteralString) -> list[Any]:
    return await (await conn.execute(query)).fetchall()


async def found(conn: Connection, query: LiteralString) -> Any:
    """As soon as there is something."""
    while not (answer := await rows(conn, query)):
        await asyncio.sleep(0.01)
    return answer[0][0]


async def heard(said: list[str], words: str) -> None:
    while not any(words in each for each in said):
        await asyncio.sleep(0.01)


@asynccontextmanager
async def writing(dsn: str) -> AsyncGenerator[Connection]:
    """Somebody whose transaction has written; a build waits for its end."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as other:
        async with other.transaction():
            await other.execute("lock table pgflow.runs, pgflow.step_tasks in row exclusive mode")
            yield other


async def test_a_database_in_use_gets_what_an_empty_one_has(
    conn: Connection, used: list[Any]
) -> None:
    check(await read_schema(conn))  # workers need not wait for it
    assert [str(step) for step in await steps_left(conn, await to_build(conn))] == STEPS
    assert await migrate(conn, builds=False) == []
    assert await migrate(conn) == [LEFT]
    assert await rows(conn, DEFINED) == used
    assert await migrate(conn) == []


async def test_others_work_while_an_index_is_built(
    dsn: str, conn: Connection, used: list[Any]
) -> None:
    said: list[str] = []
    async with writing(dsn) as other:
        pid = other.info.backend_pid
        migrated = asyncio.create_task(migrate(conn, said.append))
        await heard(said, "waits for process")
        await other.execute("select pgflow.create_flow('f')")
        await other.execute("select pgflow.add_step('f', 'one')")
        await other.execute("select pgflow.start_flow('f', '1')")
        async with await AsyncConnection.connect(dsn, autocommit=True) as third:
            await third.execute("update pgflow.runs set key = key")
            assert not migrated.done()
    assert await migrated == [LEFT]
    assert await rows(conn, DEFINED) == used
    assert said[0] == "index idx_step_tasks_parked: begun"
    assert any(f"waits for process {pid} (role" in each for each in said)


async def test_what_a_broken_connection_left_is_built_again(
    dsn: str, conn: Connection, spy: Connection, used: list[Any]
) -> None:
    async with writing(dsn):
        migrated = asyncio.create_task(migrate(conn))
        pid = await found(spy, WAITING)
        await spy.execute("select pg_terminate_backend(%s)", [pid])
        with pytest.raises(psycopg.OperationalError):
            await migrated
    assert await rows(conn, INVALID) == [(1,)]
    check(await read_schema(conn))
    assert await migrate(conn) == [LEFT]
    assert await rows(conn, DEFINED) == used
    assert await rows(conn, INVALID) == [(0,)]


async def test_whom_it_waits_for_is_said_also_when_something_is_removed(
    dsn: str, conn: Connection, spy: Connection, used: list[Any]
) -> None:
    said: list[str] = []
    async with writing(dsn) as other:
        migrated = asyncio.create_task(migrate(conn))
        await spy.execute("select pg_cancel_backend(%s)", [await found(spy, WAITING)])
        with pytest.raises(SchemaError):
            await migrated
        migrated = asyncio.create_task(migrate(conn, said.append))
        removed = "removal of index idx_step_tasks_parked: "
        await heard(said, f"{removed}waits for process {other.info.backend_pid} (role")
    assert await migrated == [LEFT]
    assert said[0] == f"{removed}begun"
    assert await rows(conn, DEFINED) == used


async def test_a_build_that_is_cut_off_says_why_and_is_done_by_the_next(
    dsn: str, conn: Connection, spy: Connection, used: list[Any]
) -> None:
    async with writing(dsn):
        migrated = asyncio.create_task(migrate(conn))
        pid = await found(spy, WAITING)
        await spy.execute("select pg_cancel_backend(%s)", [pid])
        with pytest.raises(SchemaError, match=r"index idx_step_tasks_parked was cut off: cancel.*"):
            await migrated
    assert await migrate(conn) == [LEFT]
    assert await rows(conn, DEFINED) == used


async def test_a_build_whose_migrate_was_killed_goes_on_and_the_next_waits_for_it(
    dsn: str, conn: Connection, spy: Connection, used: list[Any]
) -> None:
    said: list[str] = []
    async with writing(dsn):
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, dsn)
        try:
            pid = await found(spy, WAITING)
        finally:
            killed.kill()
            await killed.wait()
        migrated = asyncio.create_task(migrate(conn, said.append))
        await heard(said, "building index idx_step_tasks_parked: 0%")
        await heard(said, "by another process")
        assert await found(spy, WAITING) == pid  # still the one whose client is gone
    assert await migrated == [LEFT]
    assert not any("idx_step_tasks_parked: begun" in each for each in said)
    assert await rows(conn, DEFINED) == used


async def test_of_two_at_once_one_builds_and_the_other_waits(
    dsn: str, conn: Connection, spy: Connection, used: list[Any]
) -> None:
    said: list[str] = []
    async with await AsyncConnection.connect(dsn, autocommit=True) as second:
        async with writing(dsn):
            one = asyncio.create_task(migrate(conn))
            await found(spy, WAITING)
            two = asyncio.create_task(migrate(second, said.append))
            await heard(said, "by another migrate")
            assert not one.done()
        assert (await one, await two) == ([LEFT], [])
    assert await rows(conn, DEFINED) == used


async def test_no_timeout_of_the_role_cuts_a_build_off(dsn: str) -> None:
    hurried = make_conninfo(dsn, options="-c statement_timeout=50s -c lock_timeout=40s")
    async with await AsyncConnection.connect(hurried, autocommit=True) as conn:
        async with builder(conn, print) as own:
            assert await rows(own.conn, "show statement_timeout") == [("0",)]
            assert await rows(own.conn, "show lock_timeout") == [("0",)]
        assert await rows(conn, "show statement_timeout") == [("50s",)]


@pytest.mark.parametrize("first, then", [("flows", "runs"), ("runs", "flows")])
async def test_who_uses_tables_in_any_order_gets_on_while_both_are_changed(
    dsn: str,
    conn: Connection,
    spy: Connection,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
    then: str,
) -> None:
    """Taken one by one, as they are changed, they are two halves of a deadlock at each try."""
    shipped = migrations()
    monkeypatch.setattr(migrating, "migrations", lambda: [*shipped, BOTH])
    monkeypatch.setattr(migrating, "BRIEFLY", "set local lock_timeout = '100ms'")
    monkeypatch.setattr(crowd, "PAUSE", 0.2)
    read: dict[str, LiteralString] = {
        "flows": "select from pgflow.flows",
        "runs": "select from pgflow.runs",
    }
    async with await AsyncConnection.connect(dsn, autocommit=True) as worker:
        await worker.execute("set deadlock_timeout = '60s'")
        async with worker.transaction():
            await worker.execute(read[first])
            migrated = asyncio.create_task(migrate(conn))
            await found(spy, HELD_UP)
            await worker.execute(read[then])
        assert await migrated == [BOTH.name]
