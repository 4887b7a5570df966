"""What a transactional handler wrote commits with its outcome, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from stepwell import (
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    Retry,
    Snooze,
    Spawn,
    Stepwell,
    TransactionError,
    job,
    step,
)
from stepwell.observe.events import (
    AttemptRepeated,
    BatchCommitted,
    OutcomeDropped,
)

from .workshop import Workshop

PATIENCE = 30.0
RAN: list[str] = []
INSERT = "insert into wrote values (%s)"


async def until(condition: Callable[[], bool]) -> None:
    """For what no event tells."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def write(ctx: Any, what: str) -> None:
    RAN.append(what)
    await ctx.connection.execute(INSERT, (what,))


def write_sync(ctx: Any, what: str) -> None:
    RAN.append(what)
    ctx.sync_connection.execute(INSERT, (what,))


@pytest.fixture(autouse=True)
def table(workshop: Workshop) -> None:
    RAN.clear()
    workshop.rows("create table wrote (what text primary key)")


def wrote(workshop: Workshop) -> set[str]:
    return {what for (what,) in workshop.rows("select what from wrote")}


def open_transactions(workshop: Workshop) -> int:
    [(count,)] = workshop.rows(
        "select count(*) from pg_stat_activity where application_name = 'stepwell transaction'"
        " and xact_start is not null and datname = current_database()"
    )
    return count


orders = Flow[int, dict[str, Any]]("orders", base_delay=0)


@orders.step(transactional=True)
async def each(flow_input: int, ctx: Context) -> list[int]:
    await write(ctx, f"each {flow_input}")
    if ctx.attempt == 1:
        raise ValueError("not yet")  # or the primary key would fail the second attempt
    return list(range(flow_input))


@orders.map(over=each, transactional=True)
def part(number: int, ctx: Context) -> int:
    write_sync(ctx, f"part {number}")
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return number


@orders.step(transactional=True)
async def bad(part: list[int], ctx: Context) -> Any:
    await write(ctx, f"bad {ctx.attempt}")
    ctx.log(f"try {ctx.attempt}")
    return object() if ctx.attempt == 1 else sum(part)


@job(transactional=True, base_delay=0)
async def snoozing(ctx: Context, name: str, *, raises: bool) -> str:
    await write(ctx, f"{name} {RAN.count(name)}")
    RAN.append(name)
    if RAN.count(name) == 1:
        if raises:
            raise Snooze(0)
        return Snooze(0)  # pyright: ignore[reportReturnType]
    return name


family = Flow[int, dict[str, list[str]]]("family", base_delay=0)


@family.step(transactional=True)
async def spawning(flow_input: int, ctx: Context) -> Any:
    await write(ctx, f"spawning {ctx.attempt}")
    if ctx.attempt == 1:
        return Spawn([stranger.call()])
    return Spawn([snoozing.call(f"child {n}", raises=True) for n in range(flow_input)])


@job
def stranger() -> None:
    """Nobody deployed it."""


class Stock(Machine, base_delay=0):
    taken: int = 0

    @step(initial=True, transactional=True)
    async def take(self, ctx: MachineContext) -> Next | Retry:
        self.taken += 1
        await write(ctx, f"take {self.taken}")
        return Next(self.ship) if self.taken == 2 else Retry(0)

    @step(transactional=True)
    def ship(self, ctx: MachineContext) -> Done:
        write_sync(ctx, f"ship {ctx.attempt}")
        if ctx.attempt == 1:
            raise LookupError("no van")
        return Done(self.taken)

    async def on_error(self, error: Exception, ctx: MachineContext) -> Retry:
        with pytest.raises(TransactionError, match="rolled back before on_error"):
            _ = ctx.connection
        RAN.append(f"on_error {error}")
        return Retry(0)


async def test_what_is_returned_commits_and_what_is_raised_rolls_back(workshop: Workshop) -> None:
    app = Stepwell(flows=[orders, family], machines=[Stock], jobs=[snoozing])
    async with workshop.worker(app=app) as serving:
        run = await workshop.client.start(orders, 3)
        assert await run.result(PATIENCE) == {"bad": 3}
        assert wrote(workshop) == {"each 3", "part 0", "part 1", "part 2", "bad 2"}
        assert (RAN.count("each 3"), RAN.count("part 1"), RAN.count("bad 1")) == (2, 2, 1)
        said = {a.error_type for a in await run.attempts()}
        assert said == {"ValueError", "PayloadError"}
        assert [line.message for line in await run.logs()] == ["try 1", "try 2"]
        assert await (await workshop.client.start(Stock())).result(PATIENCE) == 2
        children = await workshop.client.start(family, 2)
        assert await children.result(PATIENCE) == {"spawning": ["child 0", "child 1"]}
        assert [a.error_type for a in await children.attempts()] == ["OutputRefused"]
        for raises, name in ((True, "raised"), (False, "returned")):
            call = snoozing.call(name, raises=raises)
            assert await (await workshop.client.enqueue(call)).result(PATIENCE) == name
        commits = serving.events.of(BatchCommitted)
    assert wrote(workshop) >= {"take 1", "take 2", "ship 2", "raised 1", "returned 0", "returned 1"}
    assert not wrote(workshop) & {"ship 1", "raised 0", "spawning 1"}
    assert "on_error no van" in RAN
    assert all(each.stale == 0 for each in commits)


async def use_with(conn: Any) -> None:
    async with conn:
        pass


async def commit_and_raise(conn: Any) -> None:
    await conn.execute("commit")
    raise ValueError("after a commit of its own")


async def end_and_go_on(conn: Any) -> None:
    await conn.execute("rollback")
    await conn.execute("select 1")


async def leave_a_task(conn: Any) -> None:
    LEFT.append(asyncio.create_task(stray(conn)))
    await asyncio.sleep(0.05)


async def stray(conn: Any) -> None:
    while True:
        await conn.execute("select pg_sleep(0.2)")


async def keep(conn: Any) -> None:
    LEFT.append(conn)


async def swallow(conn: Any) -> None:
    with suppress(psycopg.Error):
        await conn.execute("select 1 / 0")


async def use_savepoints(conn: Any) -> None:
    async with conn.transaction():
        await conn.execute(INSERT, ("savepoint",))
    with suppress(RuntimeError):
        async with conn.transaction():
            await conn.execute(INSERT, ("undone",))
            raise RuntimeError


LEFT: list[Any] = []
USES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
    "close": lambda conn: conn.close(),
    "with": use_with,
    "sql": lambda conn: conn.execute("commit"),
    "sql and raise": commit_and_raise,
    "sql and go on": end_and_go_on,
    "left": leave_a_task,
    "kept": keep,
    "swallowed": swallow,
    "savepoints": use_savepoints,
}
wrong = Flow[str, Any]("wrong", base_delay=0, max_attempts=2)


@wrong.step(transactional=True)
async def misuse(flow_input: str, ctx: Context) -> str:
    await write(ctx, flow_input)
    if flow_input == "sync":
        _ = ctx.sync_connection
    await USES[flow_input](ctx.connection)
    return flow_input


@wrong.step
async def plain(misuse: str, ctx: Context) -> None:
    _ = ctx.connection


REFUSED = {
    "commit": "its worker commits",
    "rollback": "its worker commits",
    "close": "its worker commits",
    "with": "its worker commits",
    "sql": "ended its transaction",
    "sql and raise": "ended its transaction",
    "sql and go on": "ended its transaction",
    "sync": "ctx.connection",
}


async def test_only_the_worker_ends_the_transaction(workshop: Workshop) -> None:
    async with workshop.worker(wrong) as serving:
        for name, says in REFUSED.items():
            run = await workshop.client.start(wrong, name)
            info = await run.wait(PATIENCE)
            [attempt] = await run.attempts()
            assert (info.status, attempt.error_type) == ("failed", "TransactionError"), name
            assert says in attempt.error_message, name
        run = await workshop.client.start(wrong, "swallowed")
        assert (await run.wait(PATIENCE)).status == "failed"
        last = (await run.attempts())[-1]
        assert (last.attempt, last.error_type) == (2, "InFailedSqlTransaction")
        assert "savepoint" in last.error_message
        own = {"sql", "sql and raise"}
        assert wrote(workshop) == own  # what it committed itself

        run = await workshop.client.start(wrong, "left")  # the stray is done soon, and then refused
        assert (await run.wait(PATIENCE)).status == "failed"
        [attempt] = await run.attempts()
        assert (attempt.step, attempt.error_type) == ("plain", "TransactionError")
        assert "transactional=True" in attempt.error_message
        with pytest.raises(TransactionError, match="only while it runs"):
            await LEFT.pop()
        run = await workshop.client.start(wrong, "kept")
        await run.wait(PATIENCE)
        with pytest.raises(TransactionError, match="only while it runs"):
            await LEFT.pop().execute("select 1")
        await (await workshop.client.start(wrong, "savepoints")).wait(PATIENCE)
        assert open_transactions(workshop) == 0
        assert not serving.events.of(AttemptRepeated)
    assert wrote(workshop) == own | {"left", "kept", "savepoints", "savepoint"}


gate = Flow[str, dict[str, str]]("gate", base_delay=0)
GO: dict[str, asyncio.Event] = {}


@gate.step(transactional=True, concurrency="gate", timeout=600)
async def hold(flow_input: str, ctx: Context) -> str:
    await write(ctx, f"{flow_input} {RAN.count(flow_input)}")
    RAN.append(flow_input)
    await GO[flow_input].wait()
    return f"{flow_input} {RAN.count(flow_input)}"


@gate.step
async def beside(flow_input: str) -> str:
    return flow_input


async def test_a_claim_that_is_gone_commits_nothing(workshop: Workshop) -> None:
    GO.update({name: asyncio.Event() for name in ("cancelled", "lapsed")})
    async with workshop.worker(gate, lease=600.0, grace=60.0) as serving:
        events = serving.events
        run = await workshop.client.start(gate, "cancelled")
        await until(lambda: "cancelled" in RAN)
        await workshop.until(  # a step of the same run is written while that one has its time
            "select 1 from pgflow.step_states where step_slug = 'beside' and status = 'completed'"
        )
        await run.cancel()
        GO["cancelled"].set()
        await events.first(OutcomeDropped)
        assert wrote(workshop) == set()

        run = await workshop.client.start(gate, "lapsed")  # which has the slot of that one
        await until(lambda: "lapsed" in RAN)
        first = workshop.rows("select claim_token from pgflow.step_tasks where stage = 'running'")
        serving.stop()  # it takes nothing more, and waits for the handler
        workshop.rows("update pgflow.workers set lease = '1 ms', last_heartbeat_at = '2000-01-01'")
        workshop.rows("select * from pgflow.reclaim_tasks()")
        async with workshop.worker(gate, lease=600.0):
            await until(lambda: RAN.count("lapsed") == 2)
            assert first not in workshop.rows("select claim_token from pgflow.step_tasks")
            GO["lapsed"].set()
            assert (await run.result(PATIENCE))["hold"] == "lapsed 2"
            await events.first(OutcomeDropped, 2)
    assert wrote(workshop) == {"lapsed 1"}
