"""Machines whose children have children, for steering while workers are killed. A job that was
cancelled while it ran stands in its room until its body has ended."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from stepwell import (
    Await,
    ConcurrencyLimit,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    Spawn,
    Stepwell,
    job,
    key_by,
    step,
)
from stepwell.define.outcome import OnFailure, OnParentEnd
from stepwell.define.startable import Startable

from .journal import room

KEYS = 12
pair = ConcurrencyLimit("pair", 2)
policies: list[OnFailure] = ["wait", "wake", "fail"]
ends: list[OnParentEnd] = ["cancel", "cancel", "cancel", "keep"]


@job(concurrency=key_by("key"), max_attempts=2, base_delay=0, max_crashes=50)
async def chore(key: str) -> str:
    with room(key):
        await asyncio.sleep(random.uniform(0, 0.05))
    if random.random() < 0.1:
        raise OSError("it broke")
    return key


@job(concurrency=pair, max_attempts=1, max_crashes=50)
async def errand() -> None:
    with room("pair", 2):
        await asyncio.sleep(random.uniform(0, 0.02))
    if random.random() < 0.3:
        raise OSError("it rained")


trip = Flow[int, Any]("trip", max_crashes=50)


@trip.step
async def out(flow_input: int) -> Spawn:
    return Spawn(
        [errand.call() for _ in range(flow_input)],
        on_failure=random.choice(policies),
        on_parent_end=random.choice(ends),
    )


home = trip.signal("home", after=out, timeout=0.3, if_exhausted="skip")


class House(Machine, max_crashes=50):
    heirs: int

    @step(initial=True)
    async def found(self, ctx: MachineContext) -> Spawn:
        children: list[Startable] = [
            *(House(heirs=self.heirs - 1) for _ in range(self.heirs)),
            *(chore.call(key=f"key:{random.randrange(KEYS)}") for _ in range(2)),
            trip.call(2),
        ]
        return Spawn(
            children,
            then=self.reign,
            on_failure=random.choice(policies),
            on_parent_end=random.choice(ends),
            deadline=random.choice([None, 1.0]),
        )

    @step
    async def reign(self, ctx: MachineContext) -> Await:
        return Await("abdicate", then=self.end, timeout=0.2)

    @step
    async def end(self, ctx: MachineContext) -> Next:
        return Next(self.rest, delay=0.05)

    @step
    async def rest(self, ctx: MachineContext) -> Done:
        return Done(len(await ctx.children()))


app = Stepwell(flows=[trip], machines=[House], jobs=[chore, errand], limits=[pair], name="dynasty")
