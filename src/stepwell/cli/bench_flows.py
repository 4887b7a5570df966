"""What `stepwell bench` runs: handlers that do nothing."""

from __future__ import annotations

from stepwell.define.app import Stepwell
from stepwell.define.context import MachineContext
from stepwell.define.flow import Flow
from stepwell.define.job import job
from stepwell.define.machine import Machine, step
from stepwell.define.outcome import Done, Next

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
