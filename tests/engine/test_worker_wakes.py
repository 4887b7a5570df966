"""How soon a worker looks, and how seldom when there is nothing to do."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from stepwell import Context, Flow, Stepwell, job
from tests.chaos.proxy import proxied

from .workshop import Workshop


def stamped(**options: Any) -> tuple[Flow[int, Any], list[float]]:
    flow = Flow[int, Any]("stamped")
    at: list[float] = []

    @flow.step(**options)
    async def note(flow_input: int) -> None:  # pyright: ignore[reportUnusedFunction]
        at.append(time.monotonic())

    return flow, at


async def test_a_start_wakes_an_idle_worker_at_once(workshop: Workshop) -> None:
    flow, at = stamped()
    late: list[float] = []
    async with workshop.worker(flow, poll=30.0):
        for number in range(20):
            await asyncio.sleep(0.06)
            began = time.monotonic()
            run = await workshop.client.start(flow, number)
            await run.result(10)
            late.append(at[-1] - began)
    print(f"start to body: median {statistics.median(late) * 1000:.1f} ms, max {max(late):.3f} s")
    assert statistics.median(late) < 0.1


async def test_polling_alone_finds_the_work(workshop: Workshop) -> None:
    flow, at = stamped()
    nowhere = "host=127.0.0.1 port=1 connect_timeout=1"
    async with workshop.worker(flow, poll=0.3, listen_dsn=nowhere):
        await asyncio.sleep(1.0)
        began = time.monotonic()
        run = await workshop.client.start(flow, 1)
        await run.result(10)
        assert at[-1] - began < 0.6


async def test_retries_and_start_delays_are_on_time(workshop: Workshop) -> None:
    flow = Flow[int, Any]("timed", base_delay=1, max_attempts=3)
    at: list[float] = []

    @flow.step
    async def again(flow_input: int, ctx: Context) -> None:
        at.append(time.monotonic())
        if ctx.attempt == 1:
            raise ValueError

    @flow.step(start_delay=1)
    def later(again: None) -> None:
        at.append(time.monotonic())

    async with workshop.worker(flow, poll=30.0):
        run = await workshop.client.start(flow, 1)
        await run.result(15)
    retry, delayed = at[1] - at[0] - 2, at[2] - at[1] - 1
    print(f"retry {retry * 1000:.0f} ms late, start delay {delayed * 1000:.0f} ms late")
    assert 0 <= retry < 0.1
    assert 0 <= delayed < 0.1


async def test_a_run_that_starts_delayed_is_on_time(workshop: Workshop) -> None:
    flow, at = stamped(start_delay=1)
    async with workshop.worker(flow, poll=30.0):
        await asyncio.sleep(0.2)
        began = time.monotonic()
        run = await workshop.client.start(flow, 1)
        await run.result(10)
        assert 0 <= at[0] - began - 1 < 0.15


async def test_an_idle_worker_hardly_asks(workshop: Workshop) -> None:
    flow, _ = stamped()
    async with proxied(workshop.dsn) as proxy:
        async with workshop.worker(flow, dsn=proxy.dsn, poll=2.0, lease=30.0):
            await asyncio.sleep(4)  # until it sleeps as long as it ever does
            proxy.statements.clear()
            await asyncio.sleep(6)
            rate = len(proxy.statements) / 6
    print(f"an idle worker: {rate:.2f} statements per second")
    assert rate <= 2.2  # of them four a beat: lost workers, orphans, full gates, schedules


async def test_a_queue_that_nobody_used_before_is_served_at_once(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[echo]), poll=30.0, lease=30.0):
        first = await workshop.client.enqueue(echo.call(n=1))
        assert await first.result(10) == 1
        began = time.monotonic()
        run = await workshop.client.enqueue(echo.call(n=2), queue="express")
        assert await run.result(10) == 2
        assert time.monotonic() - began < 1


async def test_a_slot_that_is_freed_wakes_who_waits_in_another_worker(workshop: Workshop) -> None:
    """Two workers of one place each, one key: whoever waits goes on when the slot is free, not
    at the next poll."""
    app = Stepwell(jobs=[echo])
    async with (
        workshop.worker(app=app, poll=30.0, concurrency=1),
        workshop.worker(app=app, poll=30.0, concurrency=1),
    ):
        calls = [echo.call(n=n, pause=0.05) for n in range(20)]
        began = time.monotonic()
        runs = await workshop.client.enqueue_many(calls, concurrency="one at a time")
        assert [await run.result(20) for run in runs] == list(range(20))
        print(f"20 jobs of 50 ms, one at a time: {time.monotonic() - began:.2f} s")
        assert time.monotonic() - began < 5


@job
async def echo(n: int, pause: float = 0.0) -> int:
    await asyncio.sleep(pause)
    return n
