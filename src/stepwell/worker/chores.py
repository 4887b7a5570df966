"""What every worker does for all: due timers, tasks of lost workers, children of ended runs. Each
is one SQL sweep that many workers may run at once; there is no leader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress

from stepwell.db import maintain
from stepwell.db.events import prune_events
from stepwell.db.link import Link
from stepwell.db.prune import prune as prune_some
from stepwell.db.prune import prune_audit as prune_audit_rows
from stepwell.observe.emit import emit
from stepwell.observe.events import AuditPruned, RunsPruned, TasksReclaimed

AT_ONCE = 1000
SOONEST = 0.002
SELDOM, RARELY = 4, 20  # rounds
HELD = 0.05  # the first pause when what is due is in other hands
BREATH = 0.02  # the least between two bits of one sweep, for everybody else


class Timers:
    """Promotes delayed tasks when they are due, and sleeps until the next one is."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._sooner = asyncio.Event()

    def look_again(self) -> None:
        """There may be a timer that is due earlier than we thought."""
        self._sooner.set()

    async def run(self, link: Link, due: Callable[[Sequence[str]], None]) -> None:
        held = 0.0
        while True:
            held = 0.0 if self._sooner.is_set() else held
            self._sooner.clear()
            swept = (await link.run(maintain.promote_tasks(AT_ONCE)))[0]
            if swept.promoted:
                due(swept.queues)
            if swept.promoted == AT_ONCE:
                continue
            pause = 2 * self._longest  # nothing is delayed: who delays something tells us
            if swept.next_due is not None:
                stuck = not swept.promoted and swept.next_due <= 0  # somebody else has its row
                held = max(2 * held, HELD) if stuck else 0.0
                pause = min(max(swept.next_due, SOONEST, held), self._longest)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._sooner.wait()


async def reclaim(
    link: Link, every: float, requeued: Callable[[], None], due: Callable[[Sequence[str]], None]
) -> None:
    """Take back what lost workers held."""
    while True:
        swept = (await link.run(maintain.reclaim_tasks()))[0]
        if swept.requeued or swept.failed:
            emit(TasksReclaimed(swept.requeued, swept.failed))
            requeued()
        if swept.queues:
            due(swept.queues)
        await asyncio.sleep(every)


async def tidy(link: Link, every: float, due: Callable[[Sequence[str]], None]) -> None:
    """End what was to end with its parent, tell who waits for a slot that nobody told them is
    free, and forget events that are old."""
    gate, rounds = "", 0
    while True:
        while (await link.run(maintain.end_orphans()))[0].cancelled:
            pass  # they may have had children of their own
        stuck = (await link.run(maintain.wake_stuck(gate)))[0]
        gate = stuck.last_gate or ""
        if stuck.queues:
            due(stuck.queues)
        while rounds % SELDOM == 0 and (await link.run(prune_events()))[0].count:
            pass
        if rounds % RARELY == 0:
            await link.run(maintain.forget_shares())
        rounds += 1
        await asyncio.sleep(every)


async def prune(
    connected: Callable[[], AbstractAsyncContextManager[Link]], days: float, audit_days: float
) -> None:
    """Let go of what ended or was done long ago, a bit at a time. It has a connection of its own
    while it does: a large run takes a while, and timers are on time."""
    while True:
        async with connected() as link:
            rest = await prune_round(link, days)
            await prune_audit(link, audit_days)
        await asyncio.sleep(rest)


async def prune_round(link: Link, days: float) -> float:
    """Answers with the seconds until there is more to do."""
    while True:
        began = time.monotonic()
        swept = (await link.run(prune_some(days)))[0]
        if swept.deleted or swept.workers:
            emit(RunsPruned(swept.deleted, swept.workers))
        if swept.again:
            return swept.again
        await breath(began)


async def prune_audit(link: Link, days: float) -> None:
    last: int | None = 0 if days else None
    while last is not None:
        began = time.monotonic()
        swept = (await link.run(prune_audit_rows(days, last)))[0]
        if swept.deleted:
            emit(AuditPruned(swept.deleted))
        last = swept.last_id
        await breath(began)


async def breath(began: float) -> None:
    """Half of the time at most is a sweep at work."""
    await asyncio.sleep(max(time.monotonic() - began, BREATH))
