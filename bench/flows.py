"""The flows that are measured, and the worker process that serves them: python -m bench.flows."""

from __future__ import annotations

import asyncio
import sys

from stepwell import Flow, Settings, Stepwell, Worker
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


app = Stepwell(flows=[single, chain, fan])


async def serve(dsn: str, concurrency: int) -> None:
    worker = Worker(app, Settings(dsn=dsn, concurrency=concurrency))
    with on_signals(worker):
        await worker.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
