"""Schedules on every worker: fire what is due, sleep until the next slot. There is no leader; the
database lets one of us have each slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

from stepwell.db.call import Call
from stepwell.db.link import Link
from stepwell.db.schedule import Due, Fired, due_schedules, fire_schedules, next_schedule
from stepwell.db.start import wake_flows
from stepwell.define.payload import encode
from stepwell.define.schedule import When, when_of
from stepwell.errors import DefinitionError

Row = TypeVar("Row")

AT_ONCE = 50  # schedules of one transaction: each has a subtransaction, and 64 of those are cheap
MOST_SLOTS = 1000  # of one schedule in one firing; the rest comes with the next
LATE = timedelta(minutes=1)  # a slot that nobody fired for so long was missed
WAITS = 0.5  # as next_schedule says of a slot that waits for the end of a run
SOONEST = 0.002
HELD = 0.05  # the first pause when what is due is in other hands


class RunCall(Protocol):
    """Whatever runs a call: `link.run`, `pool.run`, or a function around one connection."""

    async def __call__(self, call: Call[Row], /) -> list[Row]: ...


class Schedules:
    """Fires slots when they are due, and sleeps until the next one is."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._sooner = asyncio.Event()

    def look_again(self) -> None:
        """There may be a slot that is due earlier than we thought."""
        self._sooner.set()

    async def run(self, link: Link, started: Callable[[Sequence[str]], None]) -> None:
        """`started` hears of the queues that have something to do."""
        held = 0.0
        while True:
            self._sooner.clear()
            seconds = await next_due(link.run)
            if seconds is not None and seconds <= WAITS and await self._fire(link, started):
                held = 0.0
                continue
            stuck = seconds == 0  # others have its row, or newer code wrote its times
            held = max(2 * held, HELD) if stuck else 0.0
            pause = self._longest if seconds is None else max(seconds, SOONEST, held)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(pause, self._longest)):
                    await self._sooner.wait()

    async def _fire(self, link: Link, started: Callable[[Sequence[str]], None]) -> int:
        fired = 0
        async for batch in fire(link.run):
            fired += len(batch)
            flows = sorted({each.flow_slug for each in batch})
            started([woken.queue for woken in await link.run(wake_flows(flows))])
        return fired


async def fire_due(run_call: RunCall) -> int:
    """Fire all that is due at pgflow.now(); answers how many runs were started."""
    return sum([len(batch) async for batch in fire(run_call)])


async def next_due(run_call: RunCall) -> float | None:
    """Seconds until something is due; None: never."""
    return (await run_call(next_schedule()))[0].seconds


async def fire(run_call: RunCall) -> AsyncGenerator[list[Fired]]:
    """Fire all that is due, and tell of the runs as soon as they are there. What this code cannot
    read, or another worker has, is left alone."""
    tried: set[tuple[str, datetime]] = set()
    while True:
        due = await run_call(due_schedules())
        fresh = [each for each in due if (each.name, each.next_at) not in tried]
        if not fresh:
            return
        tried.update((each.name, each.next_at) for each in fresh)
        firings = [firing for each in fresh if (firing := firing_of(each)) is not None]
        for first in range(0, len(firings), AT_ONCE):
            batch = encode(firings[first : first + AT_ONCE])
            if fired := await run_call(fire_schedules(batch.decode())):
                yield fired


def firing_of(due: Due) -> dict[str, Any] | None:
    """What to fire of a schedule, as schedule.sql names its parts; None when its times are written
    by newer code."""
    try:
        when = when_of(due.spec)
    except DefinitionError:
        return None
    slots, following = slots_of(when, due)
    return {
        "name": due.name,
        "expected": due.next_at,
        "slots": slots,
        "next": following,
        "spec": due.spec,
    }


def slots_of(when: When, due: Due) -> tuple[list[datetime], datetime]:
    """The slots to fire out of those that are due, and the first one after all of them."""
    if due.next_at > due.seen_at:  # only a slot that waited is due
        return [], due.next_at
    if due.catch_up == "all":
        slots = [due.next_at]
        while (following := when.next(slots[-1])) <= due.seen_at and len(slots) < MOST_SLOTS:
            slots.append(following)
        return slots, following
    slot = latest(when, due.next_at, due.seen_at)
    missed = due.seen_at - slot > LATE or (due.resumed_at is not None and slot <= due.resumed_at)
    return [] if missed and due.catch_up == "none" else [slot], when.next(slot)


def latest(when: When, first: datetime, at: datetime) -> datetime:
    """The last slot that is not later than `at`; `first` is one. It halves the time between, so a
    year of slots costs as little as a day."""
    slot, end = first, at
    while (following := when.next(slot)) <= at:
        middle = slot + (end - slot) / 2
        if (later := when.next(middle)) <= at:
            slot = later
        else:
            slot, end = following, middle
    return slot
