"""What a transactional step wrote is there once, whoever is killed between two statements."""

from __future__ import annotations

import asyncio
import random
import time

from stepwell import Context, Stepwell, job
from stepwell.observe.events import AttemptRepeated
from tests.engine.workshop import Workshop

from .crew import Crew, Member
from .ledger import FATAL, INSERT, Booking
from .test_restarts import TERMINATE

RUNS = 40
PATIENCE = 50.0
OPEN_TASKS = "select run_id, step_slug, stage from pgflow.step_tasks where stage <> 'closed'"
LOST_ONLY = "select run_id, error_type from pgflow.attempts where error_type <> 'WorkerLost'"


async def test_what_a_killed_worker_wrote_is_there_once(workshop: Workshop, crew: Crew) -> None:
    workshop.rows("create table ledger (number int, side text, primary key (number, side))")
    for _ in range(2):
        crew.start("tests.chaos.ledger:app", concurrency=5, lease=2.0)
    runs = [await workshop.client.start(Booking(number=number)) for number in range(RUNS)]
    kills, end = 0, time.monotonic() + PATIENCE
    while workshop.rows("select 1 from pgflow.runs where status = 'started' limit 1"):
        assert time.monotonic() < end, workshop.rows(OPEN_TASKS)
        assert crew.broken() == []
        await asyncio.sleep(0.05)
        if kills < 1 and len(crew.wrote("wrote")) > RUNS * (kills + 1) // 2:
            replaced(crew, random.choice(crew.members))
            kills += 1
        for member in [member for member in crew.members if member.process.poll() is not None]:
            replaced(crew, member)
    assert [await run.result(1) for run in runs] == list(range(RUNS))
    assert workshop.rows("select count(*), count(distinct number) from ledger") == [
        (2 * RUNS, RUNS)
    ]
    assert workshop.rows(LOST_ONLY) == []  # none met a row of its own
    bodies = [(int(number), step) for _, number, step in crew.wrote("wrote")]
    assert all(bodies.count(fatal) > 1 for fatal in FATAL.items())
    print(f"{kills} kills, {len(bodies)} bodies for {2 * RUNS} steps")


@job(transactional=True, base_delay=0, max_attempts=20)
async def book(ctx: Context, number: int) -> None:
    await ctx.connection.execute(INSERT, (number, "debit"))
    await asyncio.sleep(random.uniform(0, 0.02))
    await ctx.connection.execute(INSERT, (number, "credit"))


@job(transactional=True, base_delay=0, max_attempts=20)
def book_in_thread(ctx: Context, number: int) -> None:
    ctx.sync_connection.execute(INSERT, (number, "debit"))
    time.sleep(random.uniform(0, 0.02))
    ctx.sync_connection.execute(INSERT, (number, "credit"))


async def test_broken_connections_write_nothing_twice(workshop: Workshop) -> None:
    workshop.rows("create table ledger (number int, side text, primary key (number, side))")
    app = Stepwell(jobs=[book, book_in_thread])
    async with workshop.worker(app=app, lease=30.0) as serving:
        calls = [book.call(number) for number in range(50)]
        calls += [book_in_thread.call(number) for number in range(50, 100)]
        runs = await workshop.client.enqueue_many(calls)
        for _ in range(5):
            await asyncio.sleep(random.uniform(0.05, 0.3))
            workshop.rows(TERMINATE)
        assert {(await run.wait(PATIENCE)).status for run in runs} == {"completed"}
        print(len(serving.events.of(AttemptRepeated)), "repeated")
    assert workshop.rows("select count(*), count(distinct number) from ledger") == [(200, 100)]


def replaced(crew: Crew, member: Member) -> None:
    if member.process.poll() is None:
        member.kill()
    member.process.wait()
    crew.members.remove(member)
    crew.start("tests.chaos.ledger:app", concurrency=5, lease=2.0)
