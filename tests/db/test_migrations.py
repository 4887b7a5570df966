"""Installing, upgrading and refusing, on the newest and the oldest Postgres that we support."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, LiteralString

import pytest
from psycopg import AsyncConnection, errors

from stepwell.db import crowd
from stepwell.db import migrate as migrating
from stepwell.db.migrate import Script, check, functions, migrate, migrations, read_schema
from stepwell.errors import SchemaError
from tests.servers import DatabaseServer

pytestmark = pytest.mark.timeout(60)
Connection = AsyncConnection[Any]
NEW = Script("9999_more.sql", "create table pgflow.more ();")
BREAKING = Script("9999_more.sql", "-- breaking\ncreate table pgflow.more ();")
CHANGED = Script("9999_more.sql", "alter table pgflow.runs add column more text;")
WAITS: LiteralString = "select count(*) from pg_locks where not granted"
MIGRATE = """
import asyncio, sys
from psycopg import AsyncConnection
from stepwell.db.migrate import migrate
async def main():
    async with await AsyncConnection.connect(sys.argv[1], autocommit=True) as conn:
        sys.stdin.readline()
        print(len(await migrate(conn)))
asyncio.run(main())
"""


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
async def empty(empty_dsn: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(empty_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def ours(dsn: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def with_migrations(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """As if this code shipped these migrations too."""

    def extend(*more: Script) -> None:
        shipped = migrations()
        monkeypatch.setattr(migrating, "migrations", lambda: [*shipped, *more])

    return extend


@pytest.fixture
def with_functions(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def extend(*more: Script) -> None:
        shipped = functions()
        monkeypatch.setattr(migrating, "functions", lambda: [*shipped, *more])

    return extend


async def value(conn: Connection, query: LiteralString) -> Any:
    row = await (await conn.execute(query)).fetchone()
    return row and row[0]


async def exists(conn: Connection, name: LiteralString) -> bool:
    return await value(conn, "select to_regclass('pgflow." + name + "') is not null")


async def test_an_empty_database_gets_every_migration_once(empty: Connection) -> None:
    with pytest.raises(SchemaError, match="stepwell migrate"):
        check(await read_schema(empty))
    assert await migrate(empty) == [script.name for script in migrations()]
    check(await read_schema(empty))
    assert await exists(empty, "step_tasks")


async def test_a_second_migrate_touches_nothing(ours: Connection) -> None:
    stamps = (
        "select array_agg(xmin::text) from pg_class where relnamespace = 'pgflow'::regnamespace"
    )
    bodies = "select array_agg(xmin::text) from pg_proc where pronamespace = 'pgflow'::regnamespace"
    before = [await value(ours, query) for query in (stamps, bodies)]
    assert await migrate(ours) == []
    assert [await value(ours, query) for query in (stamps, bodies)] == before


def test_ten_processes_at_once_install_it_once(empty_dsn: str) -> None:
    command = [sys.executable, "-c", MIGRATE, empty_dsn]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    applied = [process.communicate(timeout=50)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 10
    assert sorted(map(int, applied)) == [0] * 9 + [len(migrations())]


async def test_a_shipped_migration_that_changed_is_refused(
    ours: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *rest = migrations()
    changed = replace(first, text=first.text + "\n")
    monkeypatch.setattr(migrating, "migrations", lambda: [changed, *rest])
    with pytest.raises(SchemaError, match=f"{first.name} is not the file that was applied"):
        await migrate(ours)


async def test_a_schema_of_the_same_name_that_is_not_ours_is_left_alone(empty: Connection) -> None:
    await empty.execute("create schema pgflow; create table pgflow.flows (flow_slug text)")
    with pytest.raises(SchemaError, match="alter schema pgflow rename to"):
        await migrate(empty)
    assert (
        await value(
            empty, "select count(*) from pg_class where relnamespace = 'pgflow'::regnamespace"
        )
        == 1
    )


async def test_a_schema_with_nothing_but_a_function_is_not_ours_either(empty: Connection) -> None:
    await empty.execute("create schema pgflow; create function pgflow.f() returns int return 1")
    with pytest.raises(SchemaError, match="alter schema pgflow rename to"):
        await migrate(empty)
    with pytest.raises(SchemaError, match="alter schema pgflow rename to"):
        check(await read_schema(empty))


async def test_an_empty_schema_that_waits_for_us_is_taken(empty: Connection) -> None:
    await empty.execute("create schema pgflow")
    assert await migrate(empty) != []
    check(await read_schema(empty))


async def test_an_older_database_is_refused_with_the_command_and_then_upgraded(
    ours: Connection, with_migrations: Callable[..., None]
) -> None:
    with_migrations(NEW)
    with pytest.raises(SchemaError, match=r"lacks 9999_more.sql\): run `stepwell migrate`"):
        check(await read_schema(ours))
    assert await migrate(ours) == [NEW.name]
    check(await read_schema(ours))


async def test_older_code_works_on_a_newer_database_but_does_not_migrate_it(
    ours: Connection, with_migrations: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_migrations(NEW)
    await migrate(ours)
    monkeypatch.undo()
    check(await read_schema(ours))
    with pytest.raises(SchemaError, match=r"newer Stepwell.*pip install -U stepwell"):
        await migrate(ours)


async def test_older_code_refuses_a_database_that_a_breaking_migration_changed(
    ours: Connection, with_migrations: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_migrations(BREAKING)
    await migrate(ours)
    check(await read_schema(ours))
    monkeypatch.undo()
    with pytest.raises(SchemaError, match=r"too new for this code.*pip install -U stepwell"):
        check(await read_schema(ours))


async def test_functions_that_changed_are_applied_again(
    ours: Connection, with_functions: Callable[..., None]
) -> None:
    with_functions(Script("more.sql", "create function pgflow.more() returns int return 1;"))
    with pytest.raises(SchemaError, match=r"functions of this database.*run `stepwell migrate`"):
        check(await read_schema(ours))
    assert await migrate(ours) == []
    assert await value(ours, "select pgflow.more()") == 1
    check(await read_schema(ours))


async def test_an_error_in_the_middle_leaves_nothing(
    empty: Connection, with_migrations: Callable[..., None]
) -> None:
    with_migrations(NEW, Script("9999_wrong.sql", "select 1 / 0;"))
    with pytest.raises(errors.DivisionByZero):
        await migrate(empty)
    assert await value(empty, "select to_regnamespace('pgflow')") is None


async def test_an_error_in_a_function_leaves_the_migrations_out_too(
    ours: Connection,
    with_migrations: Callable[..., None],
    with_functions: Callable[..., None],
) -> None:
    with_migrations(NEW)
    with_functions(Script("wrong.sql", "create function pgflow.wrong() returns nonsense return 1;"))
    with pytest.raises(errors.UndefinedObject):
        await migrate(ours)
    assert not await exists(ours, "more")


async def test_a_migration_waits_for_another_and_then_has_nothing_to_do(empty_dsn: str) -> None:
    async with (
        await AsyncConnection.connect(empty_dsn, autocommit=True) as one,
        await AsyncConnection.connect(empty_dsn, autocommit=True) as two,
    ):
        async with one.transaction():
            await migrate(one)
            second = asyncio.create_task(migrate(two))
            while not await value(one, "select count(*) from pg_locks where not granted"):
                assert not second.done()
        assert await second == []


async def test_who_has_a_table_in_use_is_waited_for_and_nobody_waits_behind(
    dsn: str, with_migrations: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_migrations(CHANGED)
    monkeypatch.setattr(migrating, "BRIEFLY", "set local lock_timeout = '100ms'")
    monkeypatch.setattr(crowd, "PAUSE", 0.2)
    async with (
        await AsyncConnection.connect(dsn, autocommit=True) as changing,
        await AsyncConnection.connect(dsn, autocommit=True) as reading,
        await AsyncConnection.connect(dsn, autocommit=True) as starting,
    ):
        async with reading.transaction():
            await reading.execute("select from pgflow.runs")
            change = asyncio.create_task(migrate(changing))
            while not await value(starting, WAITS):
                assert not change.done()
            await starting.execute("select from pgflow.runs")  # gets on while the other waits
            assert not change.done()
        assert await change == [CHANGED.name]


async def test_who_stays_in_the_way_of_a_migration_is_named(
    dsn: str, with_migrations: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_migrations(CHANGED)
    monkeypatch.setattr(migrating, "BRIEFLY", "set local lock_timeout = '10ms'")
    monkeypatch.setattr(crowd, "PAUSE", 0.0)
    async with (
        await AsyncConnection.connect(dsn, autocommit=True) as changing,
        await AsyncConnection.connect(dsn, autocommit=True, application_name="report") as reading,
    ):
        async with reading.transaction():
            await reading.execute("select from pgflow.runs")
            with pytest.raises(SchemaError, match=r"report, idle in transaction.*migrate` again"):
                await migrate(changing)
        assert await migrate(changing) == [CHANGED.name]


async def test_every_function_body_is_valid(ours: Connection) -> None:
    """They are installed unchecked, as they may name each other in any order."""
    sql_bodies = (
        "select oid::regprocedure::text, pg_get_functiondef(oid) from pg_proc"
        " where pronamespace = 'pgflow'::regnamespace and prokind = 'f'"
    )
    rows = await (await ours.execute(sql_bodies)).fetchall()
    assert len(rows) > 40
    for _, definition in rows:
        await ours.execute(definition)  # checked now, as check_function_bodies is on


async def test_functions_of_a_newer_package_are_not_taken_back(empty_dsn: str) -> None:
    async with await AsyncConnection.connect(empty_dsn, autocommit=True) as conn:
        await migrate(conn)
        await conn.execute(
            "update pgflow.stepwell_schema set library = '99.1', functions = 'theirs'"
        )
        with pytest.raises(SchemaError, match=r"99\.1.*pip install -U stepwell"):
            await migrate(conn)
        check(await read_schema(conn))  # its migrations are ours: we may work
