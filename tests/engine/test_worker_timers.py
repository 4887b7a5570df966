"""The sleep between two sweeps: until the next timer, and not in a hot loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import psycopg
import pytest

from stepwell import Context, Flow
from stepwell.db.link import Link
from stepwell.db.maintain import Promoted
from stepwell.worker import chores
from stepwell.worker.chores import HELD, Timers

from .workshop import Workshop

STUCK = Promoted([], 0, 0.0)


class Sweeps:
    """In place of a link: answers as told, and notes when it was asked."""

    def __init__(self, *answers: Promoted) -> None:
        self._answers = list(answers)
        self.moments: list[float] = []

    async def run(self, call: object) -> list[Promoted]:
        self.moments.append(asyncio.get_running_loop().time())
        return [self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]]

    @property
    def pauses(self) -> list[float]:
        return [b - a for a, b in zip(self.moments, self.moments[1:], strict=False)]


async def swept(timers: Timers, sweeps: Sweeps, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await timers.run(cast(Link, sweeps), ignore)


def ignore(queues: Sequence[str]) -> None: ...


async def test_what_somebody_else_holds_is_asked_for_less_and_less_often() -> None:
    sweeps = Sweeps(STUCK)
    await swept(Timers(longest=0.2), sweeps, 1.0)
    first, second, third, fourth, *_ = sweeps.pauses
    assert HELD <= first < second < third
    assert 0.2 <= fourth < 0.3  # no longer than the longest
    assert len(sweeps.moments) <= 8


async def test_a_sweep_that_promotes_something_ends_the_backing_off() -> None:
    sweeps = Sweeps(STUCK, STUCK, Promoted(["q"], 1, 0.0), STUCK)
    await swept(Timers(longest=5.0), sweeps, 0.4)
    first, second, after, again, *_ = sweeps.pauses
    assert first < second
    assert after < HELD <= again < second


async def test_a_new_timer_is_looked_for_at_once_and_then_soon() -> None:
    sweeps = Sweeps(STUCK)
    timers = Timers(longest=5.0)
    asyncio.get_running_loop().call_later(0.5, timers.look_again)  # in the pause of 0.4 s
    await swept(timers, sweeps, 0.65)
    before, cut_short, soon = sweeps.pauses[2:5]
    assert cut_short < before
    assert HELD <= soon < 2 * HELD


async def test_a_held_row_costs_few_sweeps_and_runs_when_it_is_let_go(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = Flow[None, Any]("held", base_delay=1)
    sweeps = 0
    promote = chores.maintain.promote_tasks

    def counted(most: int) -> Any:
        nonlocal sweeps
        sweeps += 1
        return promote(most)

    monkeypatch.setattr(chores.maintain, "promote_tasks", counted)

    @flow.step
    async def once_more(ctx: Context) -> int:
        if ctx.attempt == 1:
            raise ValueError("again")
        return ctx.attempt

    async with workshop.worker(flow, poll=0.4):
        run = await workshop.client.start(flow, None)
        await workshop.until("select 1 from pgflow.step_tasks where stage = 'delayed'")
        with psycopg.connect(workshop.dsn) as conn:
            conn.execute(
                "select 1 from pgflow.step_tasks where stage = 'delayed' for no key update"
            )
            await asyncio.sleep(2.1)  # past the delay of two seconds
            before = sweeps
            await asyncio.sleep(1.0)
            assert sweeps - before <= 8
        assert await run.result(10) == {"once_more": 2}
