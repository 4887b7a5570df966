"""The testing kit: time travel, the time that all see, and schedules."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import (
    Await,
    Done,
    Flow,
    Machine,
    MachineContext,
    RateLimit,
    Schedule,
    cron,
    every,
    job,
    step,
)
from stepwell.testing import Tally

from .kit_hands import NEW_YEAR, Opens, kits_on, send


@pytest.fixture
def kit_of(dsn: str) -> Opens:
    return kits_on(dsn)


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
