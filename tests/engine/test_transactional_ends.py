"""How a transactional handler's transaction ends when something is in the way."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from stepwell import Context, Done, Flow, Machine, MachineContext, Stepwell, job, step
from stepwell.db.transaction import COMMIT, Trunk
from stepwell.observe.events import AttemptRepeated, OutcomeDropped, TaskFailed, TaskSucceeded
from stepwell.testing import Kit, Tally
from stepwell.worker import transactions
from tests.chaos.proxy import proxied
from tests.pooler import pooled
from tests.servers import DatabaseServer

from .workshop import Workshop

PATIENCE = 30.0
INSERT = "insert into wrote values (%s)"
OPEN = (
    "select count(*) from pg_stat_activity where application_name = 'stepwell transaction'"
    " and datname = current_database()"
)
RAN: Counter[str] = Counter()
LET_GO = threading.Event()
DSN: list[str] = []


@pytest.fixture(autouse=True)
def table(dsn: str) -> None:
    RAN.clear()
    LET_GO.clear()
    DSN[:] = [dsn]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table wrote (what text primary key)")
        conn.execute("create table accounts (id int primary key, balance int not null)")
        conn.execute("insert into accounts values (1, 100), (2, 100)")


def wrote(workshop: Workshop) -> set[str]:
    return {what for (what,) in workshop.rows("select what from wrote")}


slow = Flow[str, Any]("slow", max_attempts=1, timeout=2)


@slow.step(transactional=True)
async def sleeping(flow_input: str, ctx: Context) -> None:
    await ctx.connection.execute(INSERT, ("sleeping",))
    await ctx.connection.execute("select pg_sleep(600)")


@slow.step(transactional=True)
async def stubborn(flow_input: str, ctx: Context) -> None:
    await ctx.connection.execute(INSERT, ("stubborn",))
    while True:
        try:
            await asyncio.sleep(0.05)
            await ctx.connection.execute("select 1")
        except asyncio.CancelledError:
            RAN["swallowed"] += 1


@slow.step(transactional=True)
def in_thread(flow_input: str, ctx: Context) -> None:
    ctx.sync_connection.execute(INSERT, ("in thread",))
    LET_GO.wait(PATIENCE)
    RAN[f"cancelled {ctx.cancelled}"] += 1
    try:
        ctx.sync_connection.execute(INSERT, ("too late",))
    except Exception as error:
        RAN[type(error).__name__] += 1
        raise


@slow.step(transactional=True)
def in_query(flow_input: str, ctx: Context) -> None:
    ctx.sync_connection.execute(INSERT, ("in query",))
    try:
        ctx.sync_connection.execute("select pg_sleep(600)")
    finally:
        RAN["woken"] += 1


async def test_no_transaction_stays_open_past_its_timeout(workshop: Workshop) -> None:
    async with workshop.worker(slow, lease=600.0) as serving:
        run = await workshop.client.start(slow, "all of them")
        await run.wait(PATIENCE)
        await serving.events.until(lambda: len(serving.events.of(TaskFailed)) == 4, PATIENCE)
        await workshop.until(f"{OPEN} and xact_start is not null having count(*) = 0")
        LET_GO.set()
        async with asyncio.timeout(PATIENCE):
            while not (RAN["woken"] and RAN["TransactionError"] and RAN["swallowed"]):
                await asyncio.sleep(0.02)
    assert RAN["cancelled True"] == 1
    assert {each.error_type for each in serving.events.of(TaskFailed)} == {"TimedOut"}
    assert wrote(workshop) == set()


transfer = Flow[tuple[int, int], Any]("transfer", max_attempts=1)
BOTH = threading.Barrier(2)
TRIES = itertools.count(1)


@transfer.step(transactional=True)
def move(flow_input: tuple[int, int], ctx: Context) -> int:
    giver, taker = flow_input
    number = next(TRIES)
    change = "update accounts set balance = balance + %s where id = %s"
    ctx.sync_connection.execute(change, (-10, giver))
    if number <= 2:
        BOTH.wait(PATIENCE)
    ctx.sync_connection.execute(change, (10, taker))
    return number


class Careful(Machine, max_attempts=1):
    @step(initial=True, transactional=True)
    async def begin(self, ctx: MachineContext) -> Done:
        RAN["begin"] += 1
        if RAN["begin"] == 1:
            await ctx.connection.execute(INSERT, ("of the first try",))
            await ctx.connection.execute(
                "do $$ begin raise exception using errcode = '40001'; end $$"
            )
        await ctx.connection.execute(INSERT, ("of the second try",))
        if RAN["begin"] == 2:
            pid = ctx.connection.info.backend_pid
            with psycopg.connect(DSN[0]) as other:
                other.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        return Done(RAN["begin"])

    def on_error(self, error: Exception, ctx: MachineContext) -> Done:
        return Done(f"on_error was asked about {error!r}")


async def test_who_is_rolled_back_for_others_sake_runs_again_uncounted(workshop: Workshop) -> None:
    app = Stepwell(flows=[transfer], machines=[Careful])
    async with workshop.worker(app=app) as serving:
        runs = [await workshop.client.start(transfer, pair) for pair in ((1, 2), (2, 1))]
        results = [(await run.result(PATIENCE))["move"] for run in runs]
        assert 3 in results
        assert [await run.attempts() for run in runs] == [[], []]
        repeated = serving.events.of(AttemptRepeated)
        assert [each.error_type for each in repeated] == ["DeadlockDetected"]
        careful = await workshop.client.start(Careful())
        assert await careful.result(PATIENCE) == 3
        assert await careful.attempts() == []
    assert workshop.rows("select balance from accounts order by id") == [(100,), (100,)]
    assert wrote(workshop) == {"of the second try"}


held = Flow[None, dict[str, int]]("held", max_attempts=1)
HELD = asyncio.Event()


@held.step(transactional=True)
async def hasty(ctx: Context) -> int:
    RAN["hasty"] += 1
    await ctx.connection.execute("set local lock_timeout = '1ms'")
    await HELD.wait()
    return RAN["hasty"]


async def test_an_outcome_waits_for_who_holds_its_run(workshop: Workshop) -> None:
    HELD.clear()
    async with workshop.worker(held):
        run = await workshop.client.start(held)
        with psycopg.connect(workshop.dsn) as conn:
            conn.execute("select from pgflow.runs where run_id = %s for update", (run.id,))
            HELD.set()
            await workshop.until(
                "select pid from pg_stat_activity where wait_event_type = 'Lock'"
                " and query like '%commit_transactional%'"
            )
        assert await run.result(PATIENCE) == {"hasty": 1}


hopeless = Flow[None, Any]("hopeless", max_attempts=1)


@hopeless.step(transactional=True)
async def conflict(ctx: Context) -> None:
    RAN["conflict"] += 1
    await ctx.connection.execute("do $$ begin raise exception using errcode = '40001'; end $$")


@job(transactional=True, max_attempts=1)
async def deferred(ctx: Context) -> None:
    await ctx.connection.execute("insert into later values (1), (1)")


async def test_what_only_the_commit_refuses_is_a_failed_attempt(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.rows("create table later (id int unique deferrable initially deferred)")
    app = Stepwell(flows=[hopeless], jobs=[deferred])
    async with workshop.worker(app=app, concurrency=3) as serving:
        run = await workshop.client.enqueue(deferred.call())
        assert (await run.wait(PATIENCE)).status == "failed"
        assert [a.error_type for a in await run.attempts()] == ["UniqueViolation"]
        run = await workshop.client.start(hopeless)
        assert (await run.wait(PATIENCE)).status == "failed"
        assert [a.error_type for a in await run.attempts()] == ["SerializationFailure"]
        assert RAN["conflict"] == 6
        assert len(serving.events.of(AttemptRepeated)) == 5


ledger = Flow[str, Any]("ledger", base_delay=0, max_attempts=1)


@ledger.step(transactional=True)
async def enter(flow_input: str, ctx: Context) -> str:
    RAN[flow_input] += 1
    await ctx.connection.execute(INSERT, (flow_input,))
    return flow_input


@ledger.step
async def after(enter: str) -> str:
    return enter


CUTS: dict[str, Callable[[str], bool]] = {
    "its commit": lambda text: text == "commit",
    "its outcome": lambda text: "pgflow.commit_transactional(" in text,
    "its begin": lambda text: text.startswith("begin"),
    "its write": lambda text: text.startswith("insert into wrote"),
}


async def test_a_commit_whose_answer_is_lost_writes_once(workshop: Workshop) -> None:
    """It is judged by the token: what is written is not written again, what is not is repeated."""
    async with proxied(workshop.dsn) as proxy, workshop.worker(ledger, dsn=proxy.dsn) as serving:
        for name, matches in CUTS.items():
            before = proxy.cuts
            left = [True]
            proxy.cut = lambda text, m=matches, left=left: m(text) and bool(left and left.pop())
            run = await workshop.client.start(ledger, name)
            assert await run.result(PATIENCE) == {"after": name}
            assert proxy.cuts == before + 1
            assert await run.attempts() == []
        repeated = [each.step for each in serving.events.of(AttemptRepeated)]
    assert wrote(workshop) == set(CUTS)
    assert repeated == ["enter", "enter"]
    assert RAN == {"its commit": 1, "its outcome": 2, "its begin": 1, "its write": 2}


many = Flow[int, Any]("many")
ALL = asyncio.Barrier(3)


@many.step
async def numbers(flow_input: int) -> list[int]:
    return list(range(flow_input))


@many.map(over=numbers, transactional=True)
async def number(each: int, ctx: Context) -> int:
    await ctx.connection.execute(INSERT, (f"{each}",))
    await ALL.wait()
    return each


@many.step(transactional=True)
def clock(number: list[int], ctx: Context) -> str:
    row = ctx.sync_connection.execute("select pgflow.now()::date::text").fetchone()
    assert row is not None
    return row[0]


async def test_connections_are_as_many_as_handlers_and_rest_for_a_while(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LONGEST_REST", 0.5)
    async with workshop.worker(many, concurrency=3):
        assert workshop.rows(OPEN) == [(0,)]
        run = await workshop.client.start(many, 30)
        assert set(await run.result(PATIENCE)) == {"clock"}
        [(count,)] = workshop.rows(OPEN)
        assert count <= 3
        await workshop.until(f"{OPEN} having count(*) = 0")
    assert len(wrote(workshop)) == 30


later = Flow[str, Any]("later", base_delay=0)


@later.step(transactional=True)
async def today(flow_input: str, ctx: Context) -> str:
    cursor = await ctx.connection.execute(
        "insert into wrote select pgflow.now()::date::text returning what"
    )
    row = await cursor.fetchone()
    assert row is not None
    if flow_input == "cancel":
        await CLIENTS[0].client.cancel(ctx.run_id)
    if flow_input == "fail" and ctx.attempt == 1:
        raise ValueError
    return row[0]


@later.step
def and_then(today: str) -> str:
    return today


CLIENTS: list[Kit] = []


async def test_the_testing_kit_runs_them_by_its_own_clock(workshop: Workshop) -> None:
    now = datetime(2031, 5, 17, tzinfo=UTC)
    async with Kit([later], workshop.dsn, now=now) as kit:
        CLIENTS[:] = [kit]
        run = await kit.client.start(later, "fail")
        assert await kit.drain() == Tally(steps=3, completed=2, retry=1)
        assert await run.result(0) == {"and_then": "2031-05-17"}
        await kit.advance(days=1)
        cancelled = await kit.client.start(later, "cancel")
        assert await kit.drain() == Tally(steps=1, dropped=1)
        assert (await cancelled.info()).status == "cancelled"
        run = await kit.client.start(later, "well")
        assert (await kit.drain()).completed == 2
    assert wrote(workshop) == {"2031-05-17", "2031-05-18"}


beaten = Flow[None, dict[str, str]]("beaten")
CONTEXTS: list[Context] = []


@beaten.step(transactional=True)
async def quick(ctx: Context) -> str:
    CONTEXTS.append(ctx)
    await ctx.connection.execute(INSERT, ("quick",))
    return "done"


async def test_a_heartbeat_between_the_commit_and_its_answer_takes_nothing_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns that the claim is over, and asks the handler to stop, which has ended."""
    execute = Trunk.execute

    async def answered_late(self: Trunk, query: Any, *more: Any, **options: Any) -> Any:
        answer = await execute(self, query, *more, **options)
        while query == COMMIT and not CONTEXTS[0].cancelled:
            await asyncio.sleep(0.02)
        return answer

    monkeypatch.setattr(Trunk, "execute", answered_late)
    async with workshop.worker(beaten, lease=6.0) as serving:
        run = await workshop.client.start(beaten)
        assert await run.result(PATIENCE) == {"quick": "done"}
        await serving.events.first(TaskSucceeded)
        assert serving.events.of(OutcomeDropped) == []
    assert wrote(workshop) == {"quick"}


async def test_a_transaction_goes_through_a_pooler(
    workshop: Workshop, server: DatabaseServer
) -> None:
    """Also where what gave up is cut off, and where the pooler is gone for a moment."""
    with pooled(server.maintenance) as pooler:
        through = pooler.dsn(workshop.dsn)
        app = Stepwell(flows=[ledger, slow])
        async with workshop.worker(app=app, dsn=through, wake="poll", concurrency=3) as serving:
            late = await workshop.client.start(slow, "late")
            assert (await late.wait(PATIENCE)).status == "failed"
            await workshop.until(
                "select count(*) from pg_stat_activity where xact_start is not null"
                " and datname = current_database() and pid <> pg_backend_pid() having count(*) = 0"
            )
            LET_GO.set()
            names = [str(number) for number in range(6)]
            runs = [await workshop.client.start(ledger, name) for name in names]
            assert [await run.wait(PATIENCE) for run in runs]
            pooler.kill()
            pooler.start()
            last = await workshop.client.start(ledger, "last")
            assert await last.result(PATIENCE) == {"after": "last"}
        assert {each.error_type for each in serving.events.of(TaskFailed)} == {"TimedOut"}
    assert wrote(workshop) == {*names, "last"}
