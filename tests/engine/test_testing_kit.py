"""The testing kit: drains, time travel, and the time that all see."""

from __future__ import annotations

import asyncio
import doctest
import os
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from stepwell import (
    Await,
    Cancel,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    NotFound,
    RateLimit,
    Retry,
    RunTimeout,
    Schedule,
    SchemaError,
    Snooze,
    Spawn,
    Stepwell,
    Stop,
    cron,
    every,
    job,
    step,
)
from stepwell.db.databases import Databases, names_on
from stepwell.testing import Kit, NeverQuiet, Tally
from tests.db.invariants import broken
from tests.servers import DatabaseServer

from .timing import undisturbed

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)
Opens = Callable[..., AbstractAsyncContextManager[Kit]]


@pytest.fixture
def kit_of(dsn: str) -> Opens:
    """A kit on a fresh database, which must keep every invariant."""

    @asynccontextmanager
    async def opened(**parts: Any) -> AsyncGenerator[Kit]:
        async with Kit(Stepwell(**parts), dsn, now=NEW_YEAR) as kit:
            yield kit
            with psycopg.connect(dsn, autocommit=True) as conn:
                assert broken(conn) == []

    return opened


# --- a month in a second ---


@job(queue="mail")
async def send(letter: int) -> int:
    return letter * 10


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


# --- draining ---


class Moody(Machine, base_delay=60, max_attempts=2, jitter=0):
    mood: str

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Any:
        match self.mood:
            case "next":
                self.mood = "done"
                return Next(self.begin)
            case "await":
                return Await("go", then=self.begin)
            case "retry":
                return Retry(delay=60)
            case "stop":
                return Stop("enough")
            case "fail":
                raise ValueError("no")
            case _:
                return Done()


@job(max_attempts=2, base_delay=60, jitter=0)
async def try_hard(mood: str) -> Any:
    match mood:
        case "snooze":
            return Snooze(60)
        case "cancel":
            return Cancel("no need")
        case "unwritable":
            return "\0"
        case _:
            raise ValueError(mood)


@pytest.mark.parametrize(
    ("mood", "tally"),
    [
        ("done", Tally(steps=1, done=1)),
        ("next", Tally(steps=2, next=1, done=1)),
        ("await", Tally(steps=1, awaiting=1)),
        ("retry", Tally(steps=1, retry=1)),
        ("stop", Tally(steps=1, stopped=1)),
        ("fail", Tally(steps=1, retry=1)),
    ],
)
async def test_a_drain_tells_how_each_step_of_a_machine_ended(
    kit_of: Opens, mood: str, tally: Tally
) -> None:
    async with kit_of(machines=[Moody]) as kit:
        await kit.client.start(Moody(mood=mood))
        assert await kit.drain() == tally


@pytest.mark.parametrize(
    ("mood", "now", "later"),
    [
        ("snooze", Tally(steps=1, snoozed=1), Tally(steps=2, snoozed=2)),
        ("cancel", Tally(steps=1, cancelled=1), Tally()),
        ("raise", Tally(steps=1, retry=1), Tally(steps=1, failed=1)),
        ("unwritable", Tally(steps=1, retry=1), Tally(steps=1, failed=1)),
    ],
)
async def test_a_drain_tells_how_each_job_ended(
    kit_of: Opens, mood: str, now: Tally, later: Tally
) -> None:
    async with kit_of(jobs=[try_hard]) as kit:
        await kit.client.enqueue(try_hard.call(mood=mood))
        assert await kit.drain() == now
        assert await kit.drain() == Tally()
        assert await kit.advance(minutes=2) == later


async def test_a_tally_says_what_ran(kit_of: Opens) -> None:
    async with kit_of(machines=[Moody], jobs=[send]) as kit:
        await kit.client.start(Moody(mood="next"))
        await kit.client.enqueue(send.call(letter=1))
        tally = await kit.drain()
    assert tally.ran == {"moody.begin": 2, "send.perform": 1}
    assert repr(tally) == "Tally(steps=3, completed=1, done=1, next=1)"


async def test_a_drain_of_a_queue_leaves_the_others_alone(kit_of: Opens) -> None:
    async with kit_of(machines=[Moody], jobs=[send]) as kit:
        await kit.client.start(Moody(mood="done"))
        await kit.client.enqueue(send.call(letter=1))
        await kit.client.enqueue(send.call(letter=1), queue="express")
        assert (await kit.drain(queue="mail")).ran == {"send.perform": 1}
        assert (await kit.drain(queue="express")).ran == {"send.perform": 1}
        assert (await kit.drain()).ran == {"moody.begin": 1}
        with pytest.raises(NotFound, match="'mial'; there are express, mail, moody"):
            await kit.drain(queue="mial")


async def test_an_app_without_definitions_has_nothing_to_drain(kit_of: Opens) -> None:
    async with kit_of() as kit:
        assert await kit.drain() == await kit.advance(days=1) == Tally()
        assert await kit.next_due() is None


class Restless(Machine):
    turns: int = 0

    @step(initial=True)
    async def turn(self, ctx: MachineContext) -> Next | Done:
        self.turns += 1
        return Done(self.turns) if self.turns == 20 else Next(self.turn)


async def test_what_never_ends_is_named(kit_of: Opens) -> None:
    async with kit_of(machines=[Restless], jobs=[send]) as kit:
        await kit.client.enqueue(send.call(letter=1))
        run = await kit.client.start(Restless())
        with pytest.raises(NeverQuiet, match=r"after 10 steps .*: restless\.turn \(9 times\)") as e:
            await kit.drain(max_steps=10)
        assert e.value.tally == Tally(steps=10, completed=1, next=9)
        # the eleventh was not begun, and nothing of it is lost
        assert await kit.drain() == Tally(steps=11, next=10, done=1)
        assert await run.result(timeout=0) == 20


async def test_sync_handlers_run_in_threads_and_may_take_too_long(kit_of: Opens) -> None:
    slow = Flow[None, Any]("slow", max_attempts=1, timeout=1)

    @slow.step
    def nap() -> None:
        time.sleep(1.2)

    async with kit_of(flows=[slow]) as kit:
        await kit.client.start(slow)
        assert await kit.drain() == Tally(steps=1, failed=1)


async def test_a_drain_that_is_cut_off_gives_back_what_it_held(kit_of: Opens) -> None:
    hangs = Flow[None, Any]("hangs", max_attempts=1)
    hanging = True
    cancelled = False
    limit = asyncio.timeout(None)

    @hangs.step
    async def hang() -> str:
        nonlocal cancelled
        try:
            if hanging:
                limit.reschedule(asyncio.get_running_loop().time())  # now that it runs
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise
        return "ran"

    async with kit_of(flows=[hangs]) as kit:
        run = await kit.client.start(hangs)
        with pytest.raises(TimeoutError):
            async with limit:
                await kit.drain()
        assert cancelled
        hanging = False
        assert await kit.drain() == Tally(steps=1, completed=1)
        assert await run.result(timeout=0) == {"hang": "ran"}


async def test_what_runs_may_not_drain(kit_of: Opens) -> None:
    nested = Flow[None, Any]("nested", max_attempts=1)

    @nested.step
    async def drain() -> None:
        await kit.drain()

    async with kit_of(flows=[nested]) as kit:
        run = await kit.client.start(nested)
        assert await kit.drain() == Tally(steps=1, failed=1)
        assert "from the test" in ((await run.info()).error_message or "")
        with pytest.raises(RunTimeout):  # and the kit can still be used
            await (await kit.client.start(nested)).result(timeout=0)
        assert await kit.advance(days=1) == Tally(steps=1, failed=1)


async def test_an_outcome_of_a_run_that_was_cancelled_meanwhile_is_dropped(kit_of: Opens) -> None:
    gone = Flow[None, Any]("gone")

    @gone.step
    async def leave() -> None:
        await kit.client.cancel("the:gone")

    async with kit_of(flows=[gone]) as kit:
        await kit.client.start(gone, key="the:gone")
        assert await kit.drain() == Tally(steps=1, dropped=1)


# --- time ---


class Waiter(Machine):
    seconds: int

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Await:
        return Await("go", then=self.end, timeout=self.seconds)

    @step
    async def end(self, ctx: MachineContext) -> Done:
        return Done([signal.payload for signal in ctx.awaited])


async def test_a_deadline_passes(kit_of: Opens) -> None:
    async with kit_of(machines=[Waiter]) as kit:
        late = await kit.client.start(Waiter(seconds=3600))
        in_time = await kit.client.start(Waiter(seconds=3600))
        await kit.drain()
        [waits] = await kit.waiting_for(late)
        assert (waits.awaits, waits.next_at) == (["go"], NEW_YEAR + timedelta(hours=1))
        await kit.advance(minutes=59)
        await kit.client.signal(in_time, "go", 5)
        assert await kit.advance(minutes=1) == Tally(steps=2, done=2)
        assert await late.result(timeout=0) == []
        assert await in_time.result(timeout=0) == [5]
        assert await kit.waiting_for(late) == []


async def test_what_is_due_on_the_way_happens_in_its_order_at_its_time(kit_of: Opens) -> None:
    seen: list[tuple[str, timedelta]] = []

    @job
    async def note(name: str, again: bool = False) -> None:
        seen.append((name, kit.now - NEW_YEAR))
        if again:
            await kit.client.enqueue(note.call(name="later"), delay=90)

    async with kit_of(jobs=[note]) as kit:
        for name, seconds in (("third", 180), ("first", 60), ("now", 0)):
            await kit.client.enqueue(note.call(name=name), delay=seconds)
        at = NEW_YEAR + timedelta(seconds=120)
        await kit.client.enqueue(note.call(name="second", again=True), at=at)
        assert (await kit.advance(timedelta(minutes=5))).steps == 5
        assert kit.now == NEW_YEAR + timedelta(minutes=5)
    assert [(name, each.total_seconds()) for name, each in seen] == [
        ("now", 0),
        ("first", 60),
        ("second", 120),
        ("third", 180),
        ("later", 210),
    ]


async def test_time_passes_without_a_drain(kit_of: Opens) -> None:
    async with kit_of(jobs=[send]) as kit:
        for seconds in (10, 20, 99):
            await kit.client.enqueue(send.call(letter=1), delay=seconds)
        assert await kit.advance(seconds=30, drain=False) == Tally()
        assert await kit.drain() == Tally(steps=2, completed=2)


async def test_time_stands_still_between_calls(kit_of: Opens) -> None:
    async with kit_of(jobs=[send]) as kit:
        await kit.client.enqueue(send.call(letter=1), delay=0.001)
        await asyncio.sleep(0.01)
        assert await kit.drain() == Tally()
        assert await kit.next_due() == NEW_YEAR + timedelta(milliseconds=1)


async def test_time_goes_one_way(kit_of: Opens) -> None:
    async with kit_of() as kit:
        await kit.advance_to(datetime.fromisoformat("2030-02-01T01:00+01:00"))
        assert kit.now == datetime(2030, 2, 1, tzinfo=UTC)
        with pytest.raises(ValueError, match="time does not go back"):
            await kit.advance(days=-1)
        with pytest.raises(ValueError, match="no time zone"):
            await kit.advance_to(datetime(2031, 1, 1))


async def test_transactions_of_the_test_see_the_same_time(kit_of: Opens) -> None:
    async with kit_of(jobs=[send]) as kit:
        await kit.advance(days=1)
        async with kit.connection() as conn, conn.transaction():
            run = await kit.client.enqueue(send.call(letter=1), conn=conn, delay=60)
        assert await kit.next_due() == kit.now + timedelta(seconds=60)
        assert (await run.info()).started_at == kit.now


async def test_a_rate_limit_goes_by_the_clock(kit_of: Opens) -> None:
    model = RateLimit("model", 1, per=60)

    @job(rate_limit=model)
    async def ask() -> None: ...

    async with kit_of(jobs=[ask], limits=[model]) as kit:
        await kit.client.enqueue_many([ask.call() for _ in range(4)])
        assert await kit.drain() == Tally(steps=1, completed=1)
        assert await kit.advance(minutes=2) == Tally(steps=2, completed=2)
        assert await kit.advance(minutes=1) == Tally(steps=1, completed=1)


# --- schedules ---


async def test_schedules_fire_at_their_slots(kit_of: Opens) -> None:
    hours: list[int] = []

    @job
    async def report() -> None:
        hours.append(kit.now.hour)

    nightly = Schedule("nightly", report, cron("0 3 * * *"))
    often = Schedule("often", report, every(timedelta(hours=8)))
    async with kit_of(jobs=[report], schedules=[nightly, often]) as kit:
        assert await kit.drain() == Tally()
        assert await kit.advance(days=1) == Tally(steps=4, completed=4, fired=4)
        assert await kit.client.schedules.pause("often")
        assert await kit.advance(days=2) == Tally(steps=2, completed=2, fired=2)
    assert hours == [3, 8, 16, 0, 3, 3]


async def test_a_slot_that_waits_for_the_run_before_it_starts_when_that_ends(
    kit_of: Opens,
) -> None:
    long = Flow[None, Any]("long")
    long.sleep("nap", timedelta(minutes=90))
    hourly = Schedule("hourly", long, cron("0 * * * *"), overlap="queue")
    async with kit_of(flows=[long], schedules=[hourly]) as kit:
        await kit.advance(hours=4)
        runs = await kit.client.list(long)
    since = [(run.started_at - NEW_YEAR).total_seconds() / 3600 for run in runs]
    assert since == [4.0, 2.5, 1.0]


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
