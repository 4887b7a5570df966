"""Postgres dies under load, and connections break at random. Clients and workers go on."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from stepwell import Client, Run
from tests.engine.workshop import Workshop

from .crew import Crew
from .postgres import Postgres
from .program import diamond, expected
from .proxy import proxied

LONG = [pytest.mark.chaos, pytest.mark.timeout(240)]
TERMINATE = """
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5
"""
NOT_ONCE = "select 1 from pgflow.step_tasks where status <> 'completed' or stage <> 'closed'"


async def keep_starting(client: Client, end: float) -> list[Run[dict[str, int]]]:
    """Start runs one by one, each with a key, whatever happens to the database."""
    runs: list[Run[dict[str, int]]] = []
    while time.monotonic() < end:
        number = len(runs)
        runs.append(await client.start(diamond, number, key=f"number {number}"))
        await asyncio.sleep(0.01)
    return runs


@pytest.mark.timeout(150)
@pytest.mark.parametrize("rounds", [3, pytest.param(12, marks=LONG)])
async def test_postgres_dies_under_load_and_everybody_goes_on(
    restarted: Workshop, postgres: Postgres, tmp_path: Path, rounds: int
) -> None:
    with Crew(postgres.dsn, tmp_path) as crew:
        members = [crew.start(concurrency=8, lease=30.0) for _ in range(2)]
        for member in members:
            await member.says("WorkerStarted")
        end = time.monotonic() + 2.0 * rounds
        starting = asyncio.create_task(keep_starting(restarted.client, end))
        pauses: list[float] = []
        for _ in range(rounds):
            await asyncio.sleep(1.0)
            began = time.monotonic()
            await postgres.restart()
            pauses.append(time.monotonic() - began)
        runs = await starting
        waiting = [asyncio.create_task(run.result(60)) for run in runs]
        for number, result in enumerate(waiting):
            assert await result == expected(number)
        assert [member.process.poll() for member in members] == [None, None]
        assert all("DatabaseBack" in member.said() for member in members)
        assert [m.said().count("WorkerLapsed") for m in members] == [0, 0]
        print(
            f"{rounds} restarts, {len(runs)} runs, {crew.repeats()} bodies ran again;"
            f" away for {max(pauses):.1f} s at most"
        )
    assert restarted.rows(NOT_ONCE) == []
    assert restarted.rows("select count(*)::int from pgflow.runs") == [(len(runs),)]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("seconds", [4, pytest.param(25, marks=LONG)])
async def test_lost_answers_and_terminated_backends_together(
    workshop: Workshop, tmp_path: Path, seconds: int
) -> None:
    """Two workers behind a proxy that loses answers, while their backends are terminated."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with proxied(workshop.dsn) as proxy:
        proxy.cut = lambda statement: "pgflow." in statement and chance.random() < 0.05
        with Crew(proxy.dsn, tmp_path) as crew:
            members = [crew.start(concurrency=8, lease=30.0) for _ in range(2)]
            end = time.monotonic() + seconds
            starting = asyncio.create_task(keep_starting(workshop.client, end))
            while time.monotonic() < end:
                await asyncio.sleep(chance.uniform(0.1, 0.6))
                workshop.rows(TERMINATE)
            runs = await starting
            for number, run in enumerate(runs):
                assert await run.result(30) == expected(number)
            assert [member.process.poll() for member in members] == [None, None]
            print(f"{len(runs)} runs, {proxy.cuts} answers lost, {crew.repeats()} repeats")
            assert crew.repeats() == 0
    assert workshop.rows(NOT_ONCE) == []
    assert workshop.rows("select * from pgflow.attempts") == []


@pytest.mark.chaos
@pytest.mark.timeout(200)
async def test_any_faults_together(restarted: Workshop, postgres: Postgres, tmp_path: Path) -> None:
    """Restarts, kills, pauses and terminated backends, in any order and on top of each other."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    faults: Counter[str] = Counter()
    with Crew(postgres.dsn, tmp_path) as crew:
        for _ in range(3):
            crew.start(concurrency=8)
        end = time.monotonic() + 30
        starting = asyncio.create_task(keep_starting(restarted.client, end))
        while time.monotonic() < end:
            fault = chance.choice(["restart", "kill", "kill", "pause", "pause", "terminate"])
            faults[fault] += 1
            victim = chance.choice(crew.members)
            match fault:
                case "restart":
                    await postgres.restart()
                case "kill":
                    crew.replace(victim, concurrency=8)
                case "pause":
                    victim.kill(signal.SIGSTOP)
                    resume = asyncio.get_running_loop().call_later
                    resume(chance.uniform(0.5, 4), victim.resume)
                case _:
                    await restarted.client.list(limit=1)
                    restarted.rows(TERMINATE)
            await asyncio.sleep(chance.uniform(0, 1.0))
        runs = await starting
        for number, run in enumerate(runs):
            assert await run.result(60) == expected(number)
        print(f"{dict(faults)}, {len(runs)} runs, {crew.repeats()} bodies ran again")
        dropped = [member.said().count("OutcomeDropped") for member in crew.members]
        print(f"outcomes dropped by those who live: {dropped}")
    assert restarted.rows(NOT_ONCE) == []
