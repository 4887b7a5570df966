"""What a worker takes on: only what it has code for, and no more than it has room for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

from stepwell import Context, Flow
from stepwell.observe.events import BatchCommitted, TaskStarted

from .workshop import Workshop


def two_steps(second: str) -> Flow[int, Any]:
    flow = Flow[int, Any]("rolling")

    @flow.step
    async def first(flow_input: int) -> int:
        await asyncio.sleep(0.01)
        return flow_input

    async def body(first: int) -> str:
        return f"{second} {first}"

    flow.step(slug=second)(body)
    return flow


async def test_old_and_new_code_serve_their_own_versions_side_by_side(workshop: Workshop) -> None:
    old, new = two_steps("pack"), two_steps("wrap")
    async with workshop.worker(old, concurrency=3) as before:
        early = await workshop.client.start_many(old, range(20))
        async with workshop.worker(new, concurrency=3) as after:
            late = await workshop.client.start_many(new, range(20))
            by_name = await workshop.client.start("rolling", 99)
            still_old = await workshop.client.start_many(old, range(20, 25))
            for number, run in enumerate([*early, *still_old]):
                assert await run.result(10) == {"pack": f"pack {number}"}
            for number, run in enumerate(late):
                assert await run.result(10) == {"wrap": f"wrap {number}"}
            assert await by_name.result(10) == {"wrap": "wrap 99"}
            new_steps = {event.step for event in after.events.of(TaskStarted)}
        old_steps = {event.step for event in before.events.of(TaskStarted)}
    assert (old_steps, new_steps) == ({"first", "pack"}, {"first", "wrap"})


async def test_a_flow_without_code_here_waits_for_who_has_it(workshop: Workshop) -> None:
    mine, theirs = Flow("mine", queue="shared"), Flow("theirs", queue="shared")

    @mine.step
    def fine() -> int:
        return 1

    @theirs.step
    async def good() -> int:
        return 2

    async with workshop.worker(mine):
        waiting = await workshop.client.start(theirs, None)
        assert await (await workshop.client.start(mine, None)).result(10) == {"fine": 1}
        [step] = await waiting.steps()
        assert (step.status, step.running_tasks) == ("started", 0)
        async with workshop.worker(theirs):
            assert await waiting.result(10) == {"good": 2}


async def test_code_that_stops_wanting_the_input_does_not_take_it_from_old_code(
    workshop: Workshop,
) -> None:
    old, new = Flow[int, Any]("input_once"), Flow[int, Any]("input_once")

    @old.step(slug="only")
    async def with_input(flow_input: int) -> int:  # pyright: ignore[reportUnusedFunction]
        return flow_input

    @new.step(slug="only")
    async def without() -> int:  # pyright: ignore[reportUnusedFunction]
        return -1

    async with workshop.worker(old):
        async with workshop.worker(new) as serving:
            serving.stop()
            await serving.stopped()
        run = await workshop.client.start("input_once", 5)
        assert await run.result(10) == {"only": 5}


async def test_no_more_than_concurrency_run_at_once(workshop: Workshop) -> None:
    flow = Flow[int, Any]("crowd")
    lock = threading.Lock()
    inside = Counter[str]()
    most = Counter[str]()

    def change(kind: str, by: int) -> None:
        with lock:
            inside[kind] += by
            most[kind] = max(most[kind], inside[kind])
            most["all"] = max(most["all"], inside["sync"] + inside["async"])

    @flow.step
    def blocking(flow_input: int) -> None:
        change("sync", +1)
        while most["sync"] < 3:  # the first stay until there is a crowd
            time.sleep(0.005)
        time.sleep(0.01)  # and the others long enough to be one too many
        change("sync", -1)

    @flow.step
    async def waiting(flow_input: int) -> None:
        change("async", +1)
        while most["all"] < 5:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)
        change("async", -1)

    async with workshop.worker(flow, concurrency=7, threads=3):
        runs = await workshop.client.start_many(flow, range(60))
        await asyncio.gather(*(run.result(45) for run in runs))
    assert 5 <= most["all"] <= 7
    assert most["sync"] == 3


async def test_a_step_goes_to_the_worker_that_finished_its_parent(workshop: Workshop) -> None:
    flow = Flow[int, Any]("chain")

    @flow.step
    async def one(flow_input: int) -> int:
        return flow_input

    @flow.step
    async def two(one: int) -> int:
        return one + 1

    @flow.step
    async def three(two: int, flow_input: int) -> int:
        return two + flow_input

    async with workshop.worker(flow, poll=10.0) as serving:
        run = await workshop.client.start(flow, 1)
        assert await run.result(10) == {"three": 3}
        await serving.events.until(lambda: serving.events.written == 3)
        turns = [e for e in serving.events.of(BatchCommitted) if e.size or e.claimed]
    assert [(turn.size, turn.claimed) for turn in turns] == [(0, 1), (1, 1), (1, 1), (1, 0)]


async def test_a_large_map_keeps_its_order_through_failures(workshop: Workshop) -> None:
    flow = Flow[int, Any]("large", base_delay=0)

    @flow.step
    def spread(flow_input: int) -> list[int]:
        return list(range(flow_input))

    @flow.map(over=spread, max_attempts=3)
    async def square(element: int, ctx: Context) -> int:
        if element % 100 == 7 and ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")
        return element * element

    @flow.step
    def total(square: list[int]) -> int:
        return sum(square)

    async with workshop.worker(flow, concurrency=200):
        began = time.monotonic()
        run = await workshop.client.start(flow, 10_000)
        out = await run.result(60)
        seconds = time.monotonic() - began
    [attempts] = workshop.rows(
        "select count(*), count(distinct task_index), min(attempt), max(attempt)"
        " from pgflow.attempts where step_slug = 'square'"
    )
    [[squares]] = workshop.rows("select output from pgflow.step_states where step_slug = 'square'")
    assert squares == [n * n for n in range(10_000)]
    assert out == {"total": sum(squares)}
    assert attempts == (200, 100, 1, 2)
    print(f"10,000 elements, 1% failing twice: {seconds:.1f} s")
    assert seconds < 30
