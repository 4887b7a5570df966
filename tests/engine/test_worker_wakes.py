"""How soon a worker looks, and how seldom when there is nothing to do."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from typing import Any

from stepwell import Context, Flow, Stepwell, job
from stepwell.observe.events import StarterReady
from tests.chaos.proxy import proxied

from .timing import undisturbed
from .workshop import PATIENCE, Workshop


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
            await run.result(PATIENCE)
            late.append(at[-1] - began)
    print(f"start to body: median {statistics.median(late) * 1000:.1f} ms, max {max(late):.3f} s")
    assert statistics.median(late) < 0.1


async def test_polling_alone_finds_the_work(workshop: Workshop) -> None:
    flow, at = stamped()
    nowhere = "host=127.0.0.1 port=1 connect_timeout=1"

    async def found() -> float:
        await asyncio.sleep(1.0)
        began = time.monotonic()
        run = await workshop.client.start(flow, 1)
        await run.result(PATIENCE)
        return at[-1] - began

    async with workshop.worker(flow, poll=0.3, listen_dsn=nowhere):
        assert await undisturbed(workshop.dsn, 0.6, found) < 0.6


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

    async def late() -> float:
        at.clear()
        run = await workshop.client.start(flow, 1)
        await run.result(PATIENCE)
        retry, delayed = at[1] - at[0] - 2, at[2] - at[1] - 1
        print(f"retry {retry * 1000:.0f} ms late, start delay {delayed * 1000:.0f} ms late")
        assert min(retry, delayed) >= 0
        return max(retry, delayed)

    async with workshop.worker(flow, poll=30.0):
        assert await undisturbed(workshop.dsn, 0.1, late) < 0.1


async def test_a_run_that_starts_delayed_is_on_time(workshop: Workshop) -> None:
    flow, at = stamped(start_delay=1)

    async def late() -> float:
        await asyncio.sleep(0.2)
        began = time.monotonic()
        run = await workshop.client.start(flow, 1)
        await run.result(PATIENCE)
        assert at[-1] - began >= 1
        return at[-1] - began - 1

    async with workshop.worker(flow, poll=30.0):
        assert await undisturbed(workshop.dsn, 0.15, late) < 0.15


async def test_an_idle_worker_hardly_asks(workshop: Workshop) -> None:
    flow, _ = stamped()
    async with proxied(workshop.dsn) as proxy:
        async with workshop.worker(flow, dsn=proxy.dsn, poll=2.0, lease=30.0) as serving:
            await serving.events.first(StarterReady)
            await asyncio.sleep(4)  # until it sleeps as long as it ever does
            proxy.statements.clear()
            began = time.monotonic()
            await asyncio.sleep(9.9)  # no more than two beats
            rate = len(proxy.statements) / (time.monotonic() - began)
    print(f"an idle worker: {rate:.2f} statements per second")
    assert rate <= 2.2  # of them six a beat: lost workers, orphans, schedules, …


async def test_a_queue_that_nobody_used_before_is_served_at_once(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[echo]), poll=30.0, lease=30.0):
        first = await workshop.client.enqueue(echo.call(n=1))
        assert await first.result(PATIENCE) == 1
        queues = itertools.count()

        async def served() -> float:
            began = time.monotonic()
            run = await workshop.client.enqueue(echo.call(n=2), queue=f"express_{next(queues)}")
            assert await run.result(PATIENCE) == 2
            return time.monotonic() - began

        assert await undisturbed(workshop.dsn, 1, served) < 1


async def test_a_slot_that_is_freed_wakes_who_waits_in_another_worker(workshop: Workshop) -> None:
    """Two workers of one place each, one key: whoever waits goes on when the slot is free, not
    at the next poll."""
    app = Stepwell(jobs=[echo])
    async with (
        workshop.worker(app=app, poll=30.0, concurrency=1),
        workshop.worker(app=app, poll=30.0, concurrency=1),
    ):
        calls = [echo.call(n=n, pause=0.05) for n in range(20)]

        async def took() -> float:
            began = time.monotonic()
            runs = await workshop.client.enqueue_many(calls, concurrency="one at a time")
            assert [await run.result(PATIENCE) for run in runs] == list(range(20))
            print(f"20 jobs of 50 ms, one at a time: {time.monotonic() - began:.2f} s")
            return time.monotonic() - began

        assert await undisturbed(workshop.dsn, 5, took) < 5


@job
async def echo(n: int, pause: float = 0.0) -> int:
    await asyncio.sleep(pause)
    return n
