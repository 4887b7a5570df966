"""Both ways to hear of work: each worker listens for itself, and polling alone is enough."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Client, Flow, Stepwell, job
from stepwell.observe.events import StarterReady

from .workshop import Serving, Workshop

PATIENCE = 40.0
NEVER = 3600.0  # a poll that no test waits for


@job
async def echo(n: int) -> int:
    return n


APP = Stepwell(jobs=[echo])


async def ready(serving: Serving) -> None:
    """It listens, where it is to."""
    await serving.events.until(lambda: bool(serving.events.of(StarterReady)), PATIENCE)


async def silently(workshop: Workshop, count: int) -> None:
    """Runs that nobody is told of, as a trigger of somebody's database would start them."""
    async with Client(workshop.dsn) as client:
        await client.enqueue(echo.call(n=0))  # so that the definition is there
    workshop.rows(
        "select count(*) from pgflow.start_runs('echo',"
        " (select array_agg(jsonb_build_object('n', n)) from generate_series(1, %s) n))",
        count,
    )


async def done(workshop: Workshop, count: int) -> None:
    await workshop.until(
        "select 1 from pgflow.runs where status = 'completed' having count(*) >= %s",
        count,
        patience=PATIENCE,
    )


@pytest.mark.parametrize("concurrency", [1, 4, 64])
async def test_a_full_batch_below_capacity_looks_again_at_once(
    workshop: Workshop, concurrency: int
) -> None:
    """Far more than fit into one claim, a poll that never comes, and nobody who says anything: what
    there is at the start is all done."""
    await silently(workshop, 300)
    async with workshop.worker(app=APP, concurrency=concurrency, poll=NEVER, wake="poll"):
        await done(workshop, 301)


async def test_polling_finds_what_nobody_tells_of(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, poll=0.2, wake="poll") as serving:
        await ready(serving)
        await silently(workshop, 5)
        await done(workshop, 6)


async def test_one_that_stops_leaves_the_others_listening(workshop: Workshop) -> None:
    """Whoever goes, and however: who is left hears of new work without a poll."""
    async with workshop.worker(app=APP, poll=NEVER, lease=600.0) as stays:
        for now in (False, True):
            async with workshop.worker(app=APP, poll=NEVER, lease=600.0) as goes:
                await ready(stays)
                await ready(goes)
                run = await workshop.client.enqueue(echo.call(n=1))
                assert await run.result(PATIENCE) == 1
                goes.stop(now=now)
                await goes.stopped(PATIENCE)
            run = await workshop.client.enqueue(echo.call(n=2))
            assert await run.result(PATIENCE) == 2


async def test_one_that_only_polls_leaves_the_others_listening(workshop: Workshop) -> None:
    async with workshop.worker(app=APP, poll=NEVER, lease=600.0) as listens:
        await ready(listens)
        async with workshop.worker(app=APP, poll=NEVER, lease=600.0, wake="poll") as polls:
            await ready(polls)
        run = await workshop.client.enqueue(echo.call(n=1))
        assert await run.result(PATIENCE) == 1


async def test_a_step_that_follows_is_found_without_a_poll(workshop: Workshop) -> None:
    flow = Flow[int, Any]("chain")

    @flow.step
    async def first(flow_input: int) -> list[int]:
        return list(range(flow_input))

    @flow.map(over=first)
    async def each(element: int) -> int:
        await asyncio.sleep(0)
        return element

    @flow.step
    async def last(each: list[int]) -> int:  # pyright: ignore[reportUnusedFunction]
        return sum(each)

    await workshop.client.start(flow, 50)
    async with workshop.worker(flow, concurrency=3, poll=NEVER, lease=600.0, wake="poll"):
        await done(workshop, 1)


async def test_a_slot_that_is_free_again_is_filled_without_a_poll(workshop: Workshop) -> None:
    """A full worker looks as soon as it is full no more, also after failures and timeouts."""
    held: dict[int, int] = {}

    @job(name="rough", max_attempts=2, base_delay=0, timeout=2, jitter=0.0)
    async def rough(n: int) -> int:
        held[n] = held.get(n, 0) + 1
        if n % 3 == 1 and held[n] == 1:
            raise ValueError("once")
        if n == 9 and held[n] == 1:
            await asyncio.sleep(60)
        return n

    app = Stepwell(jobs=[rough])
    runs = await workshop.client.enqueue_many([rough.call(n=n) for n in range(20)])
    async with workshop.worker(app=app, concurrency=2, poll=NEVER, lease=600.0, wake="poll"):
        assert [await run.result(PATIENCE) for run in runs] == list(range(20))
