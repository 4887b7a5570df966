"""Flows for workers that are killed (member.py). Each body says in a file that it ran."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from contextlib import suppress
from typing import Any

from stepwell import Context, Flow, Stepwell

from .journal import note

WIDTH = 4

diamond = Flow[int, dict[str, int]]("diamond", max_crashes=50, base_delay=0)


@diamond.step
async def split(flow_input: int, ctx: Context) -> list[int]:
    note(ctx)
    await asyncio.sleep(random.uniform(0, 0.02))
    return [flow_input + index for index in range(WIDTH)]


@diamond.map(over=split)
async def double(element: int, ctx: Context) -> int:
    note(ctx)
    await asyncio.sleep(random.uniform(0, 0.02))
    return 2 * element


@diamond.step
def half(split: list[int], ctx: Context) -> int:
    note(ctx)
    time.sleep(random.uniform(0, 0.01))
    return split[0]


@diamond.step
async def join(double: list[int], half: int, ctx: Context) -> int:
    note(ctx)
    return sum(double) + half


def expected(number: int) -> dict[str, int]:
    return {"join": sum(2 * (number + index) for index in range(WIDTH)) + number}


patient = Flow[float, dict[str, int]]("patient")


@patient.step
async def wait(flow_input: float, ctx: Context) -> int:
    note(ctx)
    await asyncio.sleep(flow_input)
    return os.getpid()


gated = Flow[str, dict[str, int]]("gated")


@gated.step
async def enter(flow_input: str, ctx: Context) -> int:
    """Until there is such a file."""
    note(ctx)
    while not os.path.exists(flow_input):
        await asyncio.sleep(0.02)
    return os.getpid()


blocking = Flow[float, dict[str, int]]("blocking")


@blocking.step
async def block(flow_input: float, ctx: Context) -> int:
    note(ctx)
    time.sleep(flow_input)  # noqa: ASYNC251 - what nobody should do
    return ctx.attempt


murderous = Flow[None, Any]("murderous", max_crashes=1)


@murderous.step
async def kill(ctx: Context) -> None:
    note(ctx)
    await asyncio.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


stubborn = Flow[None, Any]("stubborn")


@stubborn.step
async def stay(ctx: Context) -> None:
    note(ctx)
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


app = Stepwell(flows=[diamond, patient, gated, blocking, murderous, stubborn], name="chaos")
