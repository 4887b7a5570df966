"""Workers that are killed, paused, blocked, or kill themselves."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from stepwell import RunFailed
from tests.engine.workshop import Workshop

from .crew import Crew
from .program import WIDTH, blocking, diamond, expected, gated, murderous, patient, stubborn

TASKS = 3 + WIDTH
LONG = [pytest.mark.chaos, pytest.mark.timeout(150)]
ONE_OUTCOME_EACH = """
  select 1 from pgflow.step_tasks t where t.status <> 'completed' or t.stage <> 'closed'
    or t.attempts_count <> 1
"""


async def test_what_a_killed_worker_held_is_done_by_others(workshop: Workshop, crew: Crew) -> None:
    lease = 6.0
    first, second = (crew.start(concurrency=10, lease=lease) for _ in range(2))
    await first.says("WorkerStarted")
    await second.says("WorkerStarted")
    runs = await workshop.client.start_many(diamond, range(60))
    while len(crew.bodies()) < 100:
        await asyncio.sleep(0.01)
    first.kill()
    killed = time.monotonic()
    for number, run in enumerate(runs):
        assert await run.result(30) == expected(number)
    seconds = time.monotonic() - killed
    print(f"all ended {seconds:.1f} s after the kill; lease {lease} s")
    assert seconds < lease
    assert workshop.rows(ONE_OUTCOME_EACH) == []
    requeued = workshop.rows("select sum(requeued_count)::int from pgflow.step_tasks")[0][0]
    assert crew.repeats() <= requeued <= 10
    assert len(crew.bodies()) >= 60 * TASKS


@pytest.mark.parametrize("seconds", [4, pytest.param(25, marks=LONG)])
async def test_kills_at_random_lose_nothing(workshop: Workshop, crew: Crew, seconds: int) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(3):
        crew.start(concurrency=8, lease=6.0)
    runs = await workshop.client.start_many(diamond, range(40 * seconds))
    kills, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(0.3, 1.2))
        crew.replace(chance.choice(crew.members), concurrency=8, lease=6.0)
        kills += 1
        assert workshop.broken() == []
    for number, run in enumerate(runs):
        assert await run.result(60) == expected(number)
    assert workshop.rows(ONE_OUTCOME_EACH) == []
    assert crew.repeats() <= 8 * kills
    print(f"{kills} kills, {crew.repeats()} bodies of {len(crew.bodies())} ran again")


async def test_a_paused_worker_comes_back_under_a_new_name(
    workshop: Workshop, crew: Crew, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    paused = crew.start(lease=4.0)
    await paused.says("WorkerStarted")
    run = await workshop.client.start(gated, str(gate))
    while not crew.bodies():
        await asyncio.sleep(0.01)
    paused.kill(signal.SIGSTOP)
    gate.touch()
    other = crew.start(lease=4.0)
    out = await run.result(30)
    assert out == {"enter": other.pid}
    other.kill()
    paused.kill(signal.SIGCONT)
    await paused.says("WorkerLapsed")
    await paused.says("WorkerStarted", 2)
    again = await workshop.client.start(patient, 0.0)
    assert await again.result(30) == {"wait": paused.pid}
    assert (await run.info()).output == out
    assert len({body.worker_id for body in crew.bodies()}) == 3
    assert workshop.rows(ONE_OUTCOME_EACH) == []


async def test_a_late_outcome_of_a_paused_worker_is_dropped(
    workshop: Workshop, crew: Crew, tmp_path: Path
) -> None:
    """Its heart has not beaten yet when the body ends: the token alone keeps the outcome out."""
    gate = tmp_path / "gate"
    paused = crew.start(lease=600.0)
    await paused.says("WorkerStarted")
    run = await workshop.client.start(gated, str(gate))
    while not crew.bodies():
        await asyncio.sleep(0.01)
    paused.kill(signal.SIGSTOP)
    workshop.rows("update pgflow.workers set stopped_at = now()")
    workshop.rows("select * from pgflow.reclaim_tasks()")
    gate.touch()
    other = crew.start(lease=10.0)
    assert await run.result(30) == {"enter": other.pid}
    paused.kill(signal.SIGCONT)
    await paused.says("OutcomeDropped")
    assert (await run.info()).output == {"enter": other.pid}
    assert workshop.rows(ONE_OUTCOME_EACH) == []


async def test_a_blocked_event_loop_keeps_its_lease(workshop: Workshop, crew: Crew) -> None:
    for _ in range(2):
        await crew.start(lease=4.0).says("WorkerStarted")
    run = await workshop.client.start(blocking, 5.0)
    assert await run.result(30) == {"block": 1}
    assert len(crew.bodies()) == 1
    assert workshop.rows("select sum(requeued_count)::int from pgflow.step_tasks") == [(0,)]


async def test_a_handler_that_kills_its_worker_ends_its_run_alone(
    workshop: Workshop, crew: Crew
) -> None:
    crew.start(lease=4.0)
    innocents = await workshop.client.start_many(patient, [0.5] * 5)
    run = await workshop.client.start(murderous, None)
    deaths = 0
    while (await run.info()).status == "started":
        await asyncio.sleep(0.05)
        for member in list(crew.members):
            if member.process.poll() is not None:
                crew.members.remove(member)
                crew.start(lease=4.0)
                deaths += 1
    with pytest.raises(RunFailed, match="2 workers were lost while they ran this task"):
        await run.result(1)
    for innocent in innocents:
        await innocent.result(30)
    assert deaths == 2
    assert [body.step for body in crew.bodies()].count("kill") == 2
    assert {a.error_type for a in await run.attempts()} == {"WorkerLost"}


async def test_sigterm_drains_and_a_second_one_does_not_wait(
    workshop: Workshop, crew: Crew
) -> None:
    member = crew.start(grace=30.0, lease=30.0)
    run = await workshop.client.start(patient, 1.0)
    while not crew.bodies():
        await asyncio.sleep(0.01)
    member.kill(signal.SIGTERM)
    assert await member.ended() == 0
    assert (await run.info()).status == "completed"

    member = crew.start(grace=30.0, lease=30.0)
    run = await workshop.client.start(patient, 60.0)
    while len(crew.bodies()) < 2:
        await asyncio.sleep(0.01)
    member.kill(signal.SIGTERM)
    await member.says("WorkerStopping")
    began = time.monotonic()
    member.kill(signal.SIGTERM)
    assert await member.ended() == 0
    assert time.monotonic() - began < 2
    rows = workshop.rows(
        "select stage, attempts_count, requeued_count from pgflow.step_tasks where run_id = %s",
        run.id,
    )
    assert rows == [("ready", 0, 0)]


async def test_a_process_ends_although_a_handler_swallows_its_cancellation(
    workshop: Workshop, crew: Crew
) -> None:
    member = crew.start(grace=0.2, lease=30.0)
    await workshop.client.start(stubborn, None)
    while not crew.bodies():
        await asyncio.sleep(0.01)
    began = time.monotonic()
    member.kill(signal.SIGTERM)
    assert await member.ended() == 0
    print(f"gone after {time.monotonic() - began:.1f} s")
    rows = workshop.rows("select stage, attempts_count, requeued_count from pgflow.step_tasks")
    assert rows == [("ready", 0, 0)]
