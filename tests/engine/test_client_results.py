"""Waiting for runs: every way a run can end, and what many waiters cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

from stepwell import (
    Client,
    Flow,
    NotFound,
    PayloadError,
    RunCancelled,
    RunFailed,
    RunTimeout,
    StepwellError,
)
from stepwell.client.waiter import Waiter
from stepwell.db.pool import Pool

from .client_hands import Worker, single
from .timing import undisturbed

orders = single()


class CountingPool(Pool):
    """Knows how often it was asked for a connection."""

    borrowed = 0

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[AsyncConnection[Any]]:
        self.borrowed += 1
        async with super().connection() as conn:
            yield conn


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn)


@pytest.mark.parametrize("output", [0, "", False, None, [], {}, 0.0, 12345678901234567890, "ü"])
async def test_an_output_comes_back_as_it_was(
    client: Client, worker: Worker, output: object
) -> None:
    run = await client.start(orders, 1)
    worker.complete(output)
    result = await run.result(5)
    assert result == {"ship": output}
    assert type(result["ship"]) is type(output)
    assert (await run.wait()).output == {"ship": output}
    assert [step.output for step in await run.steps()] == [output]


async def test_a_falsy_input_is_kept(client: Client) -> None:
    anything = Flow[Any, Any]("anything")
    anything.step(slug="one")(lambda: None)
    falsy: tuple[object, ...] = (0, "", False, None, [], {})
    for value in falsy:
        info = await (await client.start(anything, value)).info()
        assert (info.input, type(info.input)) == (value, type(value))


async def test_a_result_comes_once_the_run_has_ended(
    client: Client, worker: Worker, dsn: str
) -> None:
    async def late() -> float:
        run = await client.start(orders, 1)
        waiting = asyncio.create_task(run.result(15))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        worker.complete("done")
        began = time.monotonic()
        assert await waiting == {"ship": "done"}
        return time.monotonic() - began

    assert await undisturbed(dsn, 1, late) < 1


async def test_a_failed_run_names_itself_its_step_and_its_error(
    client: Client, worker: Worker
) -> None:
    run = await client.start(orders, 1)
    worker.fail("no stock")
    with pytest.raises(RunFailed) as failure:
        await run.result(5)
    error = failure.value
    assert not isinstance(error, RunCancelled)
    assert (error.run_id, error.step, error.error_type) == (run.id, "ship", "ValueError")
    assert error.message is not None
    assert "no stock" in error.message
    info = await run.wait()
    assert (info.status, info.failed_step, info.error_type) == ("failed", "ship", "ValueError")
    assert info.ended_at is not None


@pytest.mark.parametrize("reason", ["a whim", None])
async def test_a_cancelled_run(client: Client, reason: str | None) -> None:
    run = await client.start(orders, 1)
    waiting = asyncio.create_task(run.result(10))
    await asyncio.sleep(0.05)
    await run.cancel(reason)
    with pytest.raises(RunCancelled) as failure:
        await waiting
    assert str(failure.value) == f"run {run.id} was cancelled" + (f": {reason}" if reason else "")


async def test_a_timeout_names_the_run_and_leaves_it_alone(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1)
    for timeout in (0.05, 0, -1):
        with pytest.raises(RunTimeout, match=str(run.id)) as failure:
            await run.result(timeout)
        assert isinstance(failure.value, TimeoutError)
    worker.complete(1)
    assert await run.result(0) == {"ship": 1}  # one look, no waiting


async def test_your_own_timeout_stays_yours(client: Client) -> None:
    run = await client.start(orders, 1)
    with pytest.raises(TimeoutError) as failure:
        async with asyncio.timeout(0.05):
            await run.result()
    assert not isinstance(failure.value, RunTimeout)


async def test_a_missing_run(client: Client) -> None:
    for timeout in (5, 0, None):
        with pytest.raises(NotFound, match="no run"):
            await client.run(uuid4()).result(timeout)


async def test_a_retried_run_is_waited_for_again(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1)
    worker.fail()
    with pytest.raises(RunFailed):
        await run.result(5)
    await run.retry()
    with pytest.raises(RunTimeout):
        await run.result(0.1)
    worker.complete("at last")
    assert await run.result(5) == {"ship": "at last"}


class Shipped(TypedDict):
    ship: list[int]


async def test_a_declared_output_is_read_as_its_type(client: Client, worker: Worker) -> None:
    flow = Flow[int, Shipped]("orders")

    @flow.step
    def ship(flow_input: int) -> list[int]: ...

    runs = await client.start_many(flow, [1, 2])
    worker.complete([1], want=1)
    worker.complete("one", want=1)
    assert (await runs[0].result(5))["ship"] == [1]
    with pytest.raises(PayloadError, match=rf"output of run {runs[1].id}.*\$\.ship"):
        await runs[1].result(5)
    assert await client.run(runs[1].id).result(5) == {"ship": "one"}
    assert (await client.run(runs[0].id, flow).result(5))["ship"] == [1]
    assert ship.slug == "ship"


async def test_two_hundred_waiters_ask_as_one(client: Client, dsn: str, worker: Worker) -> None:
    runs = await client.start_many(orders, range(200))
    async with CountingPool(dsn) as pool:
        waiter = Waiter(pool)
        waiting = [asyncio.create_task(waiter.ended(run.id)) for run in runs]
        await asyncio.sleep(1)
        assert pool.borrowed < 20
        worker.complete()
        rows = await asyncio.gather(*waiting)
        assert [row.run_id for row in rows] == [run.id for run in runs]
        assert pool.borrowed < 25
        await asyncio.sleep(0.3)
        before = pool.borrowed
        await asyncio.sleep(0.3)
        assert pool.borrowed == before  # nobody waits, nobody asks


async def test_thousands_wait_while_runs_end(client: Client, worker: Worker) -> None:
    runs = await client.start_many(orders, range(3000))
    waiting = asyncio.gather(*(run.result(45) for run in runs))
    while await asyncio.to_thread(worker.complete, "x", 500):
        pass
    assert await waiting == [{"ship": "x"}] * 3000


async def test_a_waiter_that_gives_up_disturbs_no_other(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1)
    patient = asyncio.create_task(run.result(10))
    with pytest.raises(RunTimeout):
        await run.result(0.05)
    hasty = asyncio.create_task(run.result(10))
    await asyncio.sleep(0.02)
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    worker.complete(1)
    assert await patient == {"ship": 1}


async def test_closing_a_client_ends_its_waits(dsn: str) -> None:
    client = Client(dsn)
    run = await client.start(orders, 1)
    waiting = asyncio.create_task(run.result())
    await asyncio.sleep(0.05)
    await client.close()
    with pytest.raises(StepwellError, match="client was closed"):
        await waiting
