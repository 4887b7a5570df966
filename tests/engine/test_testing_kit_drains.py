"""The testing kit: what a drain runs, and what it tells."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from stepwell import (
    Await,
    Cancel,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    NotFound,
    Retry,
    RunTimeout,
    Snooze,
    Stop,
    job,
    step,
)
from stepwell.testing import NeverQuiet, Tally

from .kit_hands import Opens, kits_on, send


@pytest.fixture
def kit_of(dsn: str) -> Opens:
    return kits_on(dsn)


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
