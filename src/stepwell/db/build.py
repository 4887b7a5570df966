"""What a migration does to large tables beside the work: indexes are built, and constraints
checked, while others read and write. One statement at a time, each outside a transaction, so what
was cut off is gone on with where it stopped."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, LiteralString, cast

import psycopg
from psycopg import AsyncConnection, IsolationLevel
from psycopg.conninfo import make_conninfo
from psycopg.errors import DeadlockDetected, DuplicateTable, LockNotAvailable

from stepwell.db.files import Script
from stepwell.db.progress import blocker, of_index, under_way
from stepwell.errors import SchemaError

Verb = Literal["create", "drop", "validate"]
Told = Callable[[str], None]

TRIES = 10  # at a statement that others are in the way of
PAUSE = 1.0  # seconds between two looks, or two tries
STATEMENT = re.compile(
    r"(?P<create>create(?: unique)? index concurrently) (?P<index>\w+) on pgflow\.\w+ .*"
    r"|(?P<drop>drop index concurrently if exists) pgflow\.(?P<gone>\w+)"
    r"|alter table pgflow\.(?P<checked>\w+) (?P<validate>validate constraint) (?P<constraint>\w+)",
    re.DOTALL,
)
VALID: LiteralString = "select indisvalid from pg_index where indexrelid = to_regclass(%s)"
CHECKED: LiteralString = (
    "select convalidated from pg_constraint where conrelid = to_regclass(%s) and conname = %s"
)
ALONE: LiteralString = "select pg_try_advisory_xact_lock(hashtext('stepwell.build'))"
UNHURRIED: LiteralString = (
    "select set_config(name, '0', %s) from pg_settings where name in ('statement_timeout',"
    " 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a migration that runs beside the work."""

    verb: Verb
    name: str
    statement: str

    def __str__(self) -> str:
        match self.verb:
            case "create":
                return f"index {self.name}"
            case "drop":
                return f"removal of index {self.name}"
            case "validate":
                return f"check of constraint {self.name.rpartition('.')[2]}"


def steps_of(script: Script) -> list[Step]:
    """Its statements. A kind that cannot be gone on with is a defect of the file."""
    return [step_of(part.strip()) for part in script.code.split(";") if part.strip()]


def step_of(statement: str) -> Step:
    found = STATEMENT.fullmatch(statement)
    assert found, f"this cannot run beside the work: {statement}"
    if found["create"]:
        return Step("create", found["index"], statement)
    if found["drop"]:
        return Step("drop", found["gone"], statement)
    return Step("validate", f"{found['checked']}.{found['constraint']}", statement)


def removal(index: str) -> Step:
    statement: LiteralString = "drop index concurrently if exists pgflow."
    return Step("drop", index, statement + index)


async def steps_left(conn: AsyncConnection[Any], scripts: Iterable[Script]) -> list[Step]:
    """What of these migrations is not done."""
    steps = [step for script in scripts for step in steps_of(script)]
    return [step for step in steps if not await is_done(conn, step)]


async def is_done(conn: AsyncConnection[Any], step: Step) -> bool:
    if step.verb == "validate":
        table, constraint = step.name.split(".")
        row = await (await conn.execute(CHECKED, [f"pgflow.{table}", constraint])).fetchone()
        return row is not None and row[0]
    row = await (await conn.execute(VALID, [f"pgflow.{step.name}"])).fetchone()
    return row is None if step.verb == "drop" else row is not None and row[0]


class Builder:
    """Runs steps on a connection of its own, and tells how far they are from another."""

    def __init__(self, conn: AsyncConnection[Any], spy: AsyncConnection[Any], told: Told) -> None:
        self.conn = conn
        self._spy = spy
        self._told = told

    async def do(self, step: Step) -> None:
        """Until it is done, whoever does it."""
        for tries_left in reversed(range(TRIES)):
            try:
                await self._leave_alone(step)
                if await is_done(self.conn, step):
                    return
                left = removal(step.name)  # by one that was cut off
                if step.verb == "create" and not await is_done(self.conn, left):
                    await self._run(left)
                await self._run(step)
            except (LockNotAvailable, DeadlockDetected, DuplicateTable) as error:
                if not tries_left:
                    raise cut_off(step, error) from error
                await asyncio.sleep(PAUSE)
            except psycopg.Error as error:
                if self.conn.broken:
                    raise
                raise cut_off(step, error) from error

    async def _leave_alone(self, step: Step) -> None:
        """A server goes on with a build whose client is gone, so what looks cut off may not be."""
        while said := await of_index(self.conn, step.name):
            self._told(f"{said}, by another process")
            await asyncio.sleep(PAUSE)

    async def _run(self, step: Step) -> None:
        failed: psycopg.Error | None = None
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(step, over))
            try:
                await self.conn.execute(cast(LiteralString, step.statement))
            except psycopg.Error as error:
                failed = error
            finally:
                over.set()
        if failed:
            raise failed

    async def _watch(self, step: Step, over: asyncio.Event) -> None:
        self._told(f"{step}: begun")
        with suppress(psycopg.Error):  # the work is more than what is said about it
            while not over.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(PAUSE):
                        await over.wait()
                        return
                if said := await of_index(self._spy, step.name):
                    self._told(said)
                elif said := await blocker(self._spy, self.conn.info.backend_pid):
                    self._told(f"{step}: {said}")


@asynccontextmanager
async def builder(conn: AsyncConnection[Any], told: Told) -> AsyncGenerator[Builder]:
    """One at a time in a database, also through a pooler: the lock is that of a transaction in
    which nothing else is done. It has no snapshot, so no build waits for it."""
    async with (
        await another(conn) as keeper,
        await another(conn) as own,
        await another(conn) as spy,
    ):
        await unhurried(own)
        await keeper.set_isolation_level(IsolationLevel.READ_COMMITTED)
        while True:
            async with keeper.transaction():
                await keeper.execute(UNHURRIED, [True])
                if await value(keeper, ALONE):
                    yield Builder(own, spy, told)
                    return
            for said in await under_way(spy) or ["indexes are being built"]:
                told(f"{said}, by another migrate")
            await asyncio.sleep(PAUSE)


async def another(conn: AsyncConnection[Any]) -> AsyncConnection[Any]:
    """A connection to the same database."""
    address = make_conninfo(conn.info.dsn, password=conn.info.password or None)
    return await AsyncConnection.connect(address, autocommit=True, prepare_threshold=None)


async def unhurried(conn: AsyncConnection[Any]) -> None:
    """No timeout of the role's cuts it off. Not through a pooler: there the next in the same
    session would be without them too."""
    if await value(conn, "select pg_backend_pid()") == conn.info.backend_pid:
        await conn.execute(UNHURRIED, [False])


async def value(conn: AsyncConnection[Any], query: LiteralString) -> Any:
    row = await (await conn.execute(query)).fetchone()
    return row and row[0]


def cut_off(step: Step, error: psycopg.Error) -> SchemaError:
    said = (error.diag.message_primary or str(error)).strip()
    return SchemaError(
        f"{step} was cut off: {said}. What was done before it stays, and workers may run without "
        "it. Run `stepwell migrate` again once that is mended"
    )
