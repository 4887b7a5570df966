"""The weak spots W1 to W18 that only a worker can have; the others are in tests/db."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg

from stepwell import Done, Machine, MachineContext, Next, Stepwell, job, step
from stepwell.observe.events import BatchCommitted, DatabaseBack, DatabaseLost, TaskFailed
from tests.chaos.proxy import proxied

from .workshop import Workshop


class Counter(Machine):
    upto: int
    count: int = 0

    @step(initial=True)
    async def go(self, ctx: MachineContext) -> Next | Done:
        self.count += 1
        return Next(self.go) if self.count < self.upto else Done(self.count)


@job
async def note(number: int) -> int:
    return number


@job(concurrency="order:42")
async def alone(number: int) -> int:
    await asyncio.sleep(0.01)
    return number


async def test_w08_a_lone_outcome_does_not_wait_for_a_batch(workshop: Workshop) -> None:
    """100 steps one after another; a window of 100 ms each would be 10 s."""
    async with workshop.worker(app=Stepwell(machines=[Counter])):
        began = time.monotonic()
        run = await workshop.client.start(Counter(upto=100))
        assert await run.result(30) == 100
        took = time.monotonic() - began
    print(f"100 steps in a row: {took:.2f} s")
    assert took < 5


async def test_w09_outcomes_that_end_together_are_written_together(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[note]), concurrency=100) as serving:
        await workshop.client.enqueue_many([note.call(number=n) for n in range(1000)])
        await serving.events.until(lambda: serving.events.written == 1000)
        batches = [event.size for event in serving.events.of(BatchCommitted) if event.size]
    print(f"1000 outcomes in {len(batches)} batches")
    assert sum(batches) == 1000
    assert len(batches) < 250


DONE = "select 1 from pgflow.runs where status = 'completed' having count(*) = %s"


async def test_w12_a_state_that_nobody_can_read_ends_its_run_and_no_other(
    workshop: Workshop,
) -> None:
    async with workshop.worker(app=Stepwell(machines=[Counter])) as serving:
        run = await workshop.client.start(Counter(upto=1))
        await run.result(10)
        workshop.rows(
            "select * from pgflow.start_runs('counter', array['{\"upto\": []}'::jsonb, '7'])"
        )
        await workshop.until(
            "select 1 from pgflow.runs where status = 'failed' having count(*) = 2", patience=30
        )
        assert not serving.task.done()
        assert len(serving.events.of(TaskFailed)) >= 2
    crashes = workshop.rows("select distinct requeued_count from pgflow.step_tasks")
    assert crashes == [(0,)]


async def test_w15_a_start_in_a_transaction_is_heard_once_it_is_committed(
    workshop: Workshop,
) -> None:
    """Not before, when the worker would find nothing and wait for its next poll."""
    async with workshop.worker(app=Stepwell(jobs=[note]), poll=30.0):
        await asyncio.sleep(0.2)
        conn = await psycopg.AsyncConnection.connect(workshop.dsn)
        async with conn:
            run = await workshop.client.enqueue(note.call(number=1), conn=conn)
            await asyncio.sleep(0.5)
            assert workshop.rows("select 1 from pgflow.runs") == []
            began = time.monotonic()
            await conn.commit()
            assert await run.result(10) == 1
        assert time.monotonic() - began < 2


async def test_w16_what_waits_for_a_key_follows_at_once(workshop: Workshop) -> None:
    """20 in a row through one slot; a poll for each would be 20 s and more."""
    async with (
        workshop.worker(app=Stepwell(jobs=[alone]), poll=1.0),
        workshop.worker(app=Stepwell(jobs=[alone]), poll=1.0),
    ):
        began = time.monotonic()
        await workshop.client.enqueue_many([alone.call(number=n) for n in range(20)])
        await workshop.until(DONE, 20, patience=30)
        took = time.monotonic() - began
    print(f"20 through one slot: {took:.2f} s")
    assert took < 5


async def test_w17_the_host_outlives_an_outage_of_the_database(workshop: Workshop) -> None:
    """(More of it: test_worker_outage.py and tests/chaos.)"""
    async with proxied(workshop.dsn) as proxy:
        async with workshop.worker(app=Stepwell(jobs=[note]), dsn=proxy.dsn) as serving:
            first: Any = await workshop.client.enqueue(note.call(number=1))
            assert await first.result(10) == 1
            proxy.refusing = True
            proxy.cut_all()
            await serving.events.first(DatabaseLost)
            second: Any = await workshop.client.enqueue(note.call(number=2))
            proxy.refusing = False
            await serving.events.first(DatabaseBack)
            assert await second.result(20) == 2
            assert not serving.task.done()
