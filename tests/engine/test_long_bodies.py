"""A body may take longer than a lease, and may be told to stop at any time of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Context, Done, Flow, Machine, MachineContext, Stepwell, job, step
from stepwell.observe.events import OutcomeDropped, TaskStarted, WorkerLapsed

from .workshop import Workshop

PATIENCE = 30.0
LEASE = 5.0
TOLD: Counter[str] = Counter()
IN_THREADS: list[Any] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    TOLD.clear()
    IN_THREADS.clear()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


lengthy = Flow[float, dict[str, int]]("lengthy")


@lengthy.step
async def waiting(flow_input: float) -> int:
    await asyncio.sleep(flow_input)
    TOLD["waiting"] += 1
    return TOLD["waiting"]


@lengthy.step
def blocking(flow_input: float, ctx: Context) -> int:
    time.sleep(flow_input)
    assert not ctx.cancelled
    TOLD["blocking"] += 1
    return TOLD["blocking"]


@lengthy.step(transactional=True)
async def transacting(flow_input: float, ctx: Context) -> int:
    await ctx.connection.execute("select pg_sleep(%s)", (flow_input,))
    TOLD["transacting"] += 1
    return TOLD["transacting"]


@lengthy.step
async def busy(flow_input: float) -> int:
    """What nobody should do: no other body gets on meanwhile, but the heart beats."""
    time.sleep(flow_input / 2)  # noqa: ASYNC251
    TOLD["busy"] += 1
    return TOLD["busy"]


async def test_bodies_outlast_their_lease_as_long_as_the_worker_beats(workshop: Workshop) -> None:
    async with workshop.worker(lengthy, lease=LEASE) as serving:
        run = await workshop.client.start(lengthy, 1.2 * LEASE)
        once = {"waiting": 1, "blocking": 1, "transacting": 1, "busy": 1}
        assert await run.result(PATIENCE) == once
        assert serving.events.of(WorkerLapsed) == []
        assert len(serving.events.of(TaskStarted)) == 4
    assert workshop.rows("select sum(requeued_count)::int from pgflow.step_tasks") == [(0,)]


class Endless(Machine):
    @step(initial=True)
    async def wait(self, ctx: MachineContext) -> Done:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            await asyncio.sleep(0.05)  # there is time to clean up
            TOLD[f"machine {ctx.cancelled}"] += 1
        return Done()


def look(ctx: Any) -> None:
    IN_THREADS.append(ctx.run_id)
    end = time.monotonic() + PATIENCE
    while not ctx.cancelled and time.monotonic() < end:
        time.sleep(0.02)
    TOLD[f"{ctx.step} {ctx.cancelled}"] += 1


@job
def looking(ctx: Context) -> None:
    look(ctx)


@job(transactional=True, concurrency="one of them", name="writing")
def write_and_look(ctx: Context) -> None:
    ctx.sync_connection.execute("insert into wrote values ('in a thread')")
    look(ctx)
    ctx.sync_connection.execute("insert into wrote values ('too late')")


@job(transactional=True, name="sleeping")
async def write_and_sleep(ctx: Context) -> None:
    await ctx.connection.execute("insert into wrote values ('asleep')")
    try:
        await ctx.connection.execute("select pg_sleep(600)")
    finally:
        TOLD["sleeping"] += 1


@job
def never(ctx: Context) -> None:
    TOLD["never"] += 1


async def test_a_cancel_reaches_every_kind_of_body(workshop: Workshop) -> None:
    workshop.rows("create table wrote (what text)")
    app = Stepwell(machines=[Endless], jobs=[looking, write_and_look, write_and_sleep, never])
    async with workshop.worker(app=app, lease=LEASE, threads=2) as serving:
        client = workshop.client
        calls = [looking.call(), write_and_look.call(), write_and_sleep.call()]
        runs = [await client.start(Endless()), *[await client.enqueue(call) for call in calls]]
        await serving.events.first(TaskStarted, 4)
        await until(lambda: len(IN_THREADS) == 2)  # no thread is free now
        waits = await client.enqueue(never.call())  # for a thread
        await serving.events.first(TaskStarted, 5)
        assert TOLD.total() == 0
        for run in [waits, *runs]:
            assert await run.cancel()
        await until(lambda: TOLD.total() == 4)
        assert set(TOLD) == {"machine True", "perform True", "sleeping"}
        await workshop.until("select 1 where not exists (select from pgflow.slots)")
        await workshop.until(
            "select 1 where not exists (select from pg_stat_activity where xact_start is not null"
            " and application_name = 'stepwell transaction' and datname = current_database())"
        )
        assert serving.events.of(OutcomeDropped) == []
    assert workshop.rows("select * from wrote") == []
    assert TOLD["never"] == 0
