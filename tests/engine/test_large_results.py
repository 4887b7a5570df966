"""A large result takes its time, and nobody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Flow
from stepwell.observe.events import (
    BatchCommitted,
    CommitFailed,
    TaskFailed,
    TaskSucceeded,
    WorkerLapsed,
)
from stepwell.worker import batches

from .workshop import Workshop

PATIENCE = 50.0
MEGABYTE = 2**20

bulky = Flow[int, dict[str, int]]("bulky", base_delay=0, max_attempts=1)


@bulky.step
async def make(flow_input: int) -> str:
    return "x" * flow_input


@bulky.step
def length(make: str) -> int:
    return len(make)


slight = Flow[int, dict[str, int]]("slight")


@slight.step
async def echo(flow_input: int) -> int:
    return flow_input


async def test_a_large_result_is_written_and_one_that_is_too_large_says_so(
    workshop: Workshop,
) -> None:
    workshop.rows("select * from pgflow.set_payload_limits(max_payload => 50000000)")
    most = 30 * MEGABYTE
    async with workshop.worker(bulky, slight, lease=5.0, max_payload=most) as serving:
        start = workshop.client.start
        large = [await start(bulky, 20 * MEGABYTE), await start(bulky, 2 * MEGABYTE)]
        await serving.events.first(TaskSucceeded, 2)
        small = [await start(slight, number) for number in range(20)]
        assert [(await run.result(PATIENCE))["echo"] for run in small] == list(range(20))
        lengths = [(await run.result(PATIENCE))["length"] for run in large]
        assert lengths == [20 * MEGABYTE, 2 * MEGABYTE]
        refused = await start(bulky, 31 * MEGABYTE)
        assert (await refused.wait(PATIENCE)).status == "failed"
        [attempt] = await refused.attempts()
        assert attempt.error_type == "PayloadTooLarge"
        assert "max_payload" in attempt.error_message
        for nothing in (WorkerLapsed, CommitFailed):
            assert serving.events.of(nothing) == []


async def test_what_is_large_goes_alone_and_what_is_heavy_together_is_divided(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "LARGE", 1000)
    monkeypatch.setattr(batches, "HEAVIEST", 2000)
    flow = Flow[list[int], Any]("mixed")
    everybody = asyncio.Event()

    @flow.map
    async def sized(size: int) -> str:
        await everybody.wait()
        return "x" * size

    sizes = [1500] * 3 + [600] * 10 + [10] * 50
    async with workshop.worker(flow, concurrency=100) as serving:
        run = await workshop.client.start(flow, sizes)
        await serving.events.until(lambda: counted(serving.events.of(BatchCommitted)) == len(sizes))
        begun = len(serving.events.of(BatchCommitted))
        everybody.set()
        assert await run.result(PATIENCE) == {"sized": ["x" * size for size in sizes]}
        written = [event.size for event in serving.events.of(BatchCommitted)[begun:] if event.size]
        assert sum(written) == len(sizes)
        assert written.count(1) >= 3
        assert len(written) >= 3 + 10 // 3
        assert serving.events.of(TaskFailed) == []


def counted(events: list[BatchCommitted]) -> int:
    return sum(event.claimed for event in events)
