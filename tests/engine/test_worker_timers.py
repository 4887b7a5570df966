"""The sleep between two sweeps: until the next timer, and not in a hot loop."""

from __future__ import annotations

import asyncio
import selectors
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
        return [round(b - a, 6) for a, b in zip(self.moments, self.moments[1:], strict=False)]


class Leaping(selectors.DefaultSelector):
    """In place of sleeping it has slept: a machine that stops for a moment changes no pause."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        self.now += 0 if ready else timeout or 0
        return ready


class Hurried(asyncio.SelectorEventLoop):
    """A loop whose timers are due at once, by a clock that goes along."""

    def __init__(self) -> None:
        self._leaping = Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def swept(timers: Timers, sweeps: Sweeps, seconds: float, look_again: float | None = None) -> None:
    async def sweep() -> None:
        if look_again is not None:
            asyncio.get_running_loop().call_later(look_again, timers.look_again)
        async with asyncio.timeout(seconds):
            await timers.run(cast(Link, sweeps), ignore)

    with asyncio.Runner(loop_factory=Hurried) as runner, pytest.raises(TimeoutError):
        runner.run(sweep())


def ignore(queues: Sequence[str]) -> None: ...


def test_what_somebody_else_holds_is_asked_for_less_and_less_often() -> None:
    sweeps = Sweeps(STUCK)
    swept(Timers(longest=0.2), sweeps, 1.0)
    first, second, third, fourth, *_ = sweeps.pauses
    assert HELD <= first < second < third
    assert 0.2 <= fourth < 0.3  # no longer than the longest
    assert len(sweeps.moments) <= 8


def test_a_sweep_that_promotes_something_ends_the_backing_off() -> None:
    sweeps = Sweeps(STUCK, STUCK, Promoted(["q"], 1, 0.0), STUCK)
    swept(Timers(longest=5.0), sweeps, 0.4)
    first, second, after, again, *_ = sweeps.pauses
    assert first < second
    assert after < HELD <= again < second


def test_a_new_timer_is_looked_for_at_once_and_then_soon() -> None:
    sweeps = Sweeps(STUCK)
    swept(Timers(longest=5.0), sweeps, 0.65, look_again=0.5)  # in the pause of 0.4 s
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
