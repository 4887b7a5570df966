"""How a worker leaves: what can end ends and is written, what cannot goes back uncounted."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from stepwell import Context, Flow, RunCancelled
from stepwell.observe.events import (
    BatchCommitted,
    DatabaseLost,
    OutcomeDropped,
    TaskReleased,
    TaskStarted,
    WorkerStopped,
    WorkerStopping,
)
from stepwell.worker import incarnation
from tests.chaos.proxy import proxied

from .workshop import Workshop

UNCOUNTED = [("ready", 0)]


def sleeping(slug: str, ended: list[bool] | None = None) -> Flow[bool, Any]:
    flow = Flow[bool, Any](slug)

    @flow.step
    async def sleep(flow_input: bool) -> None:  # pyright: ignore[reportUnusedFunction]
        try:
            await asyncio.sleep(30)
        finally:
            if ended is not None:
                ended.append(True)

    return flow


def stages(workshop: Workshop) -> list[tuple[Any, ...]]:
    return workshop.rows("select stage, attempts_count from pgflow.step_tasks")


async def test_fifty_running_tasks_end_and_are_written(workshop: Workshop) -> None:
    flow = Flow[int, Any]("drained")
    go = asyncio.Event()

    @flow.step
    async def wait(flow_input: int) -> int:
        await go.wait()
        return flow_input

    async with workshop.worker(flow, concurrency=50, grace=15.0) as serving:
        runs = await workshop.client.start_many(flow, range(60))
        await serving.events.first(TaskStarted, 50)
        serving.stop()
        await serving.events.first(WorkerStopping)
        go.set()
        await serving.stopped()
        assert serving.events.of(WorkerStopped)[0].released == 0
    statuses = [(await run.info()).status for run in runs]
    assert (statuses.count("completed"), statuses.count("started")) == (50, 10)
    [row] = workshop.rows(
        "select count(*) from pgflow.step_tasks where stage = 'ready' and attempts_count = 0"
    )
    assert row == (10,)


async def test_what_outlasts_the_grace_goes_back_uncounted(workshop: Workshop) -> None:
    flow = Flow[bool, Any]("cut_off")
    ended: list[str] = []
    let_go = threading.Event()

    @flow.step
    async def waiting(flow_input: bool, ctx: Context) -> int:
        try:
            await asyncio.sleep(30 if not ended else 0)
        finally:
            ended.append("async")
        return ctx.attempt

    @flow.step
    def blocking(flow_input: bool, ctx: Context) -> int:
        let_go.wait(20)
        ended.append(f"sync {ctx.cancelled}")
        return ctx.attempt

    async with workshop.worker(flow, grace=0.3) as serving:
        run = await workshop.client.start(flow, True)
        await serving.events.first(TaskStarted, 2)
        began = time.monotonic()
        serving.stop()
        await serving.stopped()
        assert 0.3 <= time.monotonic() - began < 2
        assert len(serving.events.of(TaskReleased)) == 2
    assert stages(workshop) == UNCOUNTED * 2
    let_go.set()
    async with workshop.worker(flow):
        assert await run.result(10) == {"waiting": 1, "blocking": 1}
        assert await run.attempts() == []
    assert "sync True" in ended


async def test_stopping_at_once_does_not_wait_for_the_grace(workshop: Workshop) -> None:
    flow = sleeping("at_once")
    async with workshop.worker(flow, grace=30.0) as serving:
        await workshop.client.start(flow, True)
        await serving.events.first(TaskStarted)
        began = time.monotonic()
        serving.stop()
        await asyncio.sleep(0.2)
        assert not serving.task.done()
        serving.stop(now=True)
        await serving.stopped()
        assert time.monotonic() - began < 2


async def test_a_handler_that_swallows_its_cancellation_is_left_behind(workshop: Workshop) -> None:
    flow = Flow[bool, Any]("swallowing")
    end = asyncio.Event()

    @flow.step
    async def hold_on(flow_input: bool) -> str:
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()
        return "at last"

    async with workshop.worker(flow, grace=0.1) as serving:
        await workshop.client.start(flow, True)
        await serving.events.first(TaskStarted)
        began = time.monotonic()
        serving.stop()
        await serving.stopped()
        assert time.monotonic() - began < 3
    assert stages(workshop) == UNCOUNTED
    end.set()
    await asyncio.sleep(0.05)


async def test_a_worker_is_drained_from_outside(workshop: Workshop) -> None:
    flow = Flow[bool, Any]("outside")
    go = asyncio.Event()

    @flow.step
    async def wait(flow_input: bool) -> None:
        await go.wait()

    async with workshop.worker(flow, lease=6.0, grace=15.0) as serving:
        run = await workshop.client.start(flow, True)
        await serving.events.first(TaskStarted)
        workshop.rows("update pgflow.workers set deprecated_at = now()")
        await serving.events.first(WorkerStopping)
        go.set()
        await serving.stopped()
        assert (await run.info()).status == "completed"


async def test_cancelling_a_run_reaches_its_bodies(workshop: Workshop) -> None:
    flow = Flow[bool, Any]("unwanted")
    told: list[str] = []

    @flow.step
    async def waiting(flow_input: bool) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            told.append("async")

    @flow.step
    def looking(flow_input: bool, ctx: Context) -> None:
        for _ in range(500):
            if ctx.cancelled:
                told.append("sync")
                return
            time.sleep(0.02)

    @flow.step
    async def stubborn(flow_input: bool) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            told.append("stubborn")
        return "done anyway"

    async with workshop.worker(flow, lease=6.0) as serving:
        run = await workshop.client.start(flow, True)
        await serving.events.first(TaskStarted, 3)
        assert await run.cancel("changed our mind")
        with pytest.raises(RunCancelled, match="changed our mind"):
            await run.result(15)
        await serving.events.first(OutcomeDropped)
        while len(told) < 3:
            await asyncio.sleep(0.02)
        dropped = {event.step for event in serving.events.of(OutcomeDropped)}
    assert sorted(told) == ["async", "stubborn", "sync"]
    assert dropped == {"stubborn"}
    info = await run.info()
    assert (info.status, info.output) == ("cancelled", None)


async def test_what_a_stopping_worker_claims_last_is_not_begun(workshop: Workshop) -> None:
    flow = Flow[int, Any]("last_claim")
    begun: list[int] = []

    @flow.step
    async def work(flow_input: int) -> None:
        begun.append(flow_input)

    async with workshop.worker(flow, poll=0.1) as serving:
        with psycopg.connect(workshop.dsn) as conn:
            conn.execute("lock table pgflow.step_tasks in exclusive mode")
            conn.execute("select pgflow.start_flow('last_claim', '1')")
            await workshop.until(
                "select pid from pg_stat_activity where wait_event_type = 'Lock'"
                " and query like '%commit_and_claim%'"
            )
            serving.stop()
            await serving.events.first(WorkerStopping)
        await serving.stopped()
        assert not any(event.claimed for event in serving.events.of(BatchCommitted))
    assert begun == []
    assert stages(workshop) == UNCOUNTED


async def test_a_cancelled_worker_leaves_no_handler_behind(workshop: Workshop) -> None:
    ended: list[bool] = []
    flow = sleeping("orphans", ended)
    async with workshop.worker(flow) as serving:
        await workshop.client.start(flow, True)
        await serving.events.first(TaskStarted)
        serving.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving.task
        await asyncio.sleep(0)
        assert ended == [True]
    assert stages(workshop) == UNCOUNTED


async def test_stopping_works_while_the_database_is_away(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incarnation, "LAST_WORDS", 0.5)
    flow = Flow[bool, Any]("away")
    go = asyncio.Event()

    @flow.step
    async def wait(flow_input: bool) -> None:
        await go.wait()

    async with proxied(workshop.dsn) as proxy:
        async with workshop.worker(flow, dsn=proxy.dsn, grace=0.5) as serving:
            await workshop.client.start(flow, True)
            await serving.events.first(TaskStarted)
            proxy.refusing = True
            proxy.cut_all()
            go.set()
            await serving.events.first(DatabaseLost)
            began = time.monotonic()
            serving.stop()
            await serving.stopped()
            assert time.monotonic() - began < 3
    assert workshop.rows("select stage from pgflow.step_tasks") == [("running",)]
