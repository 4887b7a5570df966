"""Work under concurrency limits, for workers that are killed. Each body stands in the room of its
key, or of its limit, for as long as it runs."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from stepwell import (
    ConcurrencyLimit,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    Stepwell,
    job,
    key_by,
    step,
)
from stepwell.define.startable import Startable

from .journal import room

KEYS = [f"key:{number}" for number in range(50)]
trio = ConcurrencyLimit("trio", 3)


async def stand_in(key: str) -> None:
    with room(key):
        await asyncio.sleep(random.uniform(0, 0.03))


@job(concurrency=key_by("key"), max_crashes=50)
async def turn(key: str) -> str:
    await stand_in(key)
    return key


@job(concurrency=key_by("key"), max_crashes=50)
def slow_turn(key: str) -> str:
    with room(key):
        time.sleep(random.uniform(0, 0.03))
    return key


class Laps(Machine, concurrency=key_by("key"), max_crashes=50):
    """Goes on at once, later, and as anybody's, always with its key."""

    key: str
    done: int = 0

    @step(initial=True)
    async def lap(self, ctx: MachineContext) -> Next | Done:
        await stand_in(self.key)
        self.done += 1
        match self.done:
            case 1:
                return Next(self.lap)
            case 2:
                return Next(self.lap, delay=0.05)
            case 3:
                return Next(self.lap, inline=False)
            case _:
                return Done(self.done)


class Visits(Machine, max_crashes=50):
    """Goes from one key to another, and ends with none."""

    keys: list[str]
    done: int = 0

    @step(initial=True)
    async def set_out(self, ctx: MachineContext) -> Next:
        return Next(self.visit, concurrency=self.keys[0])

    @step
    async def visit(self, ctx: MachineContext) -> Next:
        await stand_in(self.keys[self.done])
        self.done += 1
        if self.done < len(self.keys):
            return Next(self.visit, concurrency=self.keys[self.done])
        return Next(self.come_home, concurrency=None)

    @step
    async def come_home(self, ctx: MachineContext) -> Done:
        return Done(self.done)


tour = Flow[dict[str, str], Any]("tour", concurrency=key_by("key"), max_crashes=50)


@tour.step
async def begin(flow_input: dict[str, str]) -> list[dict[str, str]]:
    await stand_in(flow_input["key"])
    return [{"key": random.choice(KEYS)} for _ in range(2)]


@tour.map(over=begin)
async def stop_over(element: dict[str, str]) -> str:
    await stand_in(element["key"])
    return element["key"]


@tour.step
async def end(stop_over: list[str], flow_input: dict[str, str]) -> int:
    await stand_in(flow_input["key"])
    return len(stop_over)


@job(concurrency=trio, max_crashes=50)
async def third() -> None:
    with room("trio", 3):
        await asyncio.sleep(random.uniform(0, 0.05))


def a_round() -> list[Startable]:
    """Some work of every kind; each key has its share."""
    some = random.sample(KEYS, 30)
    return [
        *(turn.call(key) for key in KEYS),
        *(slow_turn.call(key) for key in some[:10]),
        *(Laps(key=key) for key in some[10:20]),
        *(Visits(keys=random.choices(KEYS, k=3)) for _ in range(5)),
        *(tour.call({"key": key}) for key in some[20:]),
        *(third.call() for _ in range(20)),
    ]


app = Stepwell(
    flows=[tour],
    machines=[Laps, Visits],
    jobs=[turn, slow_turn, third],
    limits=[trio],
    name="keyed",
)
