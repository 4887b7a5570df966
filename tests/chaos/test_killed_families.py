"""Machines with signals, children and timers, while everything around them dies."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.engine.workshop import Workshop

from .crew import ROOT, Crew
from .families import CHILDREN, SIGNALS, Family, expected, key_of
from .postgres import Postgres

LEASE = 20.0  # longer than Postgres is away on a busy machine
SHORT = pytest.mark.timeout(180)
LONG = [pytest.mark.chaos, pytest.mark.timeout(300)]
# who has not exactly the signals that were sent, each consumed, and one join of all children
ODD = """
  select r.run_id from pgflow.runs r
  where r.kind = 'machine' and (
    %s::bigint[] <> (
      select array[count(*), count(distinct s.dedup_key), count(s.consumed_at)]
      from pgflow.signals s where s.run_id = r.run_id)
    or %s::bigint[] <> (
      select array[count(*), sum(j.total), sum(j.completed), sum(j.pending)]
      from pgflow.joins j where j.run_id = r.run_id)
    or %s <> (select count(*) from pgflow.runs c where c.parent_run_id = r.run_id))
"""


class Signaller:
    """The process that sends the signals; it is started again until it says that it is done."""

    def __init__(self, dsn: str, families: int, log: Path) -> None:
        self._program = [sys.executable, "-m", "tests.chaos.signaller", dsn, str(families)]
        self._log = log
        self._process: Process | None = None
        self.done = False

    async def keep_going(self) -> None:
        while not self.done:
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._program, stderr=log, cwd=ROOT
                )
            code = await self._process.wait()
            self.done = code == 0
            assert code in (0, -9), self._log.read_text()

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


@asynccontextmanager
async def signalling(dsn: str, families: int, log: Path) -> AsyncGenerator[Signaller]:
    signaller = Signaller(dsn, families, log)
    going = asyncio.create_task(signaller.keep_going())
    try:
        yield signaller
        await going
    finally:
        going.cancel()
        signaller.kill()


@pytest.mark.parametrize(
    "families", [pytest.param(200, marks=SHORT), pytest.param(3000, marks=LONG)]
)
async def test_every_signal_and_every_child_counts_once(
    restarted: Workshop, postgres: Postgres, tmp_path: Path, families: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    numbers = range(families)
    runs = await restarted.client.enqueue_many(
        [Family(number=number) for number in numbers], keys=[key_of(number) for number in numbers]
    )
    with Crew(postgres.dsn, tmp_path, "tests.chaos.families:app") as crew:
        for _ in range(3):
            crew.start(concurrency=8, lease=LEASE)
        async with signalling(postgres.dsn, families, tmp_path / "signaller") as signaller:
            kills = 0
            while kills < 7 or not signaller.done:
                await asyncio.sleep(chance.uniform(0.4, 1.2))
                crew.replace(chance.choice(crew.members), concurrency=8, lease=LEASE)
                kills += 1
                if kills in (2, 4):
                    signaller.kill()
                if kills in (3, 6):
                    await postgres.restart()
                assert restarted.broken() == []
        for number, run in enumerate(runs):
            assert await run.result(60) == expected(number)
        assert crew.broken() == []
        assert crew.heard("WorkerStopping") == 0  # nobody lost a lease
    odd = restarted.rows(ODD, [len(SIGNALS)] * 3, [1, CHILDREN, CHILDREN, 0], CHILDREN)
    assert odd == []
    [(lost,)] = restarted.rows("select sum(requeued_count)::int from pgflow.step_tasks")
    print(f"{kills} kills, {lost} tasks of lost workers at the end")
