"""What a transactional step wrote is there once, whoever is killed between two statements."""

from __future__ import annotations

import asyncio
import random
import time

from tests.engine.workshop import Workshop

from .crew import Crew, Member
from .ledger import FATAL, Booking

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


def replaced(crew: Crew, member: Member) -> None:
    if member.process.poll() is None:
        member.kill()
    member.process.wait()
    crew.members.remove(member)
    crew.start("tests.chaos.ledger:app", concurrency=5, lease=2.0)
