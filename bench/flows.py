"""What is measured, and the worker process that serves them: python -m bench.flows."""

from __future__ import annotations

import asyncio
import sys

from stepwell import (
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    Settings,
    Stepwell,
    Worker,
    job,
    step,
)
from stepwell.worker.stop import on_signals

single = Flow("bench_single")
chain = Flow("bench_chain")
fan = Flow("bench_fan")


@single.step
async def only(flow_input: dict[str, int]) -> dict[str, bool]:
    return {"ok": True}


@chain.step
async def first(flow_input: dict[str, int]) -> dict[str, bool]:
    return {"ok": True}


@chain.step
async def second(first: dict[str, bool]) -> dict[str, bool]:
    return {"ok": True}


@chain.step
async def third(second: dict[str, bool]) -> dict[str, bool]:
    return {"ok": True}


@fan.step
async def make(flow_input: dict[str, int]) -> list[int]:
    return list(range(flow_input["n"]))


@fan.map(over=make)
async def each(item: int) -> int:
    return item


@fan.step
async def join(each: list[int]) -> int:
    return len(each)


@job(name="bench_job")
async def nothing(x: int) -> dict[str, bool]:
    return {"ok": True}


class BenchMachine(Machine):
    x: int

    @step(initial=True)
    async def first(self, ctx: MachineContext) -> Next:
        return Next(self.second)

    @step
    async def second(self, ctx: MachineContext) -> Next:
        return Next(self.third)

    @step
    async def third(self, ctx: MachineContext) -> Done:
        return Done({"ok": True})


app = Stepwell(flows=[single, chain, fan], machines=[BenchMachine], jobs=[nothing])


async def serve(dsn: str, concurrency: int) -> None:
    worker = Worker(app, Settings(dsn=dsn, concurrency=concurrency))
    with on_signals(worker):
        await worker.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
