"""Machines that spawn: children of every kind, joined or failed."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import (
    Done,
    Flow,
    Machine,
    MachineContext,
    RunFailed,
    Spawn,
    job,
    step,
)

from .machine_hands import Counter, app_of
from .workshop import Workshop


@job(max_attempts=1)
async def double(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number * 2


numbers = Flow[int, Any]("numbers")


@numbers.step
def add_one(flow_input: int) -> int:
    return flow_input + 1


class Family(Machine):
    on_failure: str = "wait"
    first: int = 1
    handle: bool = False

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Spawn:
        children = [double.call(self.first), numbers.call(5), Counter(upto=2)]
        policy: Any = self.on_failure
        return Spawn(children, then=self.join, on_failure=policy)

    @step
    async def join(self, ctx: MachineContext) -> Done:
        children = await ctx.children()
        return Done([[child.kind, child.status, child.output] for child in children])

    async def on_error(self, error: BaseException, ctx: MachineContext) -> Done | None:
        if self.handle and isinstance(error, RunFailed):
            return Done(f"{ctx.step}: {error.message}")
        return None


FAMILY = app_of(Family, Counter, jobs=[double], flows=[numbers])


async def test_children_of_every_kind_are_joined(workshop: Workshop) -> None:
    async with workshop.worker(app=FAMILY):
        run = await workshop.client.start(Family())
        assert await run.result(10) == [
            ["job", "completed", 2],
            ["flow", "completed", {"add_one": 6}],
            ["machine", "completed", [0, 1]],
        ]


async def test_a_failed_child_is_counted_like_any(workshop: Workshop) -> None:
    async with workshop.worker(app=FAMILY):
        run = await workshop.client.start(Family(first=-1))
        assert (await run.result(10))[0] == ["job", "failed", None]


async def test_a_failed_child_fails_its_parent_if_asked_to(workshop: Workshop) -> None:
    async with workshop.worker(app=FAMILY):
        run = await workshop.client.start(Family(first=-1, on_failure="fail"))
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        handled = await workshop.client.start(Family(first=-1, on_failure="fail", handle=True))
        assert await handled.result(10) == "join: -1 is negative"
    assert (failed.value.step, failed.value.error_type) == ("join", "ChildFailed")
    assert "-1 is negative" in (failed.value.message or "")


async def test_a_sync_step_reads_its_children_too(workshop: Workshop) -> None:
    class Parent(Machine):
        @step(initial=True)
        def begin(self, ctx: MachineContext) -> Spawn:
            return Spawn([double.call(number=n) for n in range(5)], then=self.join)

        @step
        def join(self, ctx: MachineContext) -> Done:
            return Done([child.output for child in ctx.wait(ctx.children(limit=3))])

    async with workshop.worker(app=app_of(Parent, jobs=[double])):
        run = await workshop.client.start(Parent())
        assert await run.result(10) == [0, 2, 4]
