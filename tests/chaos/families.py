"""Machines with signals, children and timers, for workers that are killed and a Postgres that
restarts. What each got is in its result."""

from __future__ import annotations

import asyncio
import random
from dataclasses import field
from typing import Any

from stepwell import Await, Done, Machine, MachineContext, Next, Spawn, Stepwell, job, step

CHILDREN = 3
# names, and dedup keys that are the payloads too
SIGNALS = [("paid", "first"), ("paid", "second"), ("packed", "box"), ("labelled", "label")]


@job(max_crashes=50)
async def work(family: int, number: int) -> int:
    await asyncio.sleep(random.uniform(0, 0.02))
    return family * CHILDREN + number


class Family(Machine, queue="families", max_crashes=50):
    """Two signals of one name, children, one signal of each of two names, a sleep."""

    number: int
    steps: int = 0
    got: list[str] = field(default_factory=list[str])
    joined: list[int] = field(default_factory=list[int])

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Await:
        self.steps += 1
        return Await("paid", then=self.paid)

    @step
    async def paid(self, ctx: MachineContext) -> Await | Spawn:
        if len(ctx.awaited) < 2:
            return Await("paid", then=self.paid)
        self.steps += 1
        self.got += [signal.payload for signal in ctx.awaited]
        children = [work.call(family=self.number, number=number) for number in range(CHILDREN)]
        return Spawn(children, then=self.join)

    @step
    async def join(self, ctx: MachineContext) -> Await:
        self.steps += 1
        self.joined += [child.output for child in await ctx.children()]
        return Await(["packed", "labelled"], then=self.rest, all=True)

    @step
    async def rest(self, ctx: MachineContext) -> Next:
        self.steps += 1
        self.got += [signal.payload for signal in ctx.awaited]
        return Next(self.end, delay=0.2)

    @step
    async def end(self, ctx: MachineContext) -> Done:
        return Done({"steps": self.steps, "got": sorted(self.got), "joined": sorted(self.joined)})


def key_of(number: int) -> str:
    return f"family {number}"


def expected(number: int) -> dict[str, Any]:
    return {
        "steps": 4,
        "got": sorted(payload for _, payload in SIGNALS),
        "joined": [number * CHILDREN + n for n in range(CHILDREN)],
    }


app = Stepwell(machines=[Family], jobs=[work], name="families")
