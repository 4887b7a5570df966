"""Workers of ours and workers written for pgflow share runs, while both are killed at random."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any, LiteralString

import pytest

from tests.engine.workshop import Workshop

from .crew import Crew, Member, until
from .mixed import FLOWS, expected

LONG = [pytest.mark.chaos, pytest.mark.timeout(900)]
PATIENCE = 300.0

# nobody hears of a foreign worker's death: as if an hour had passed since it began what it held
LATER = """
  update pgflow.step_tasks t
  set queued_at = t.queued_at - interval '1 hour', started_at = t.started_at - interval '1 hour'
  from pgflow.workers w
  where t.last_worker_id = w.worker_id and t.stage = 'running' and w.function_name = any (%s)
    and t.started_at > now() - interval '30 minutes'
"""
# each failed attempt that counted has its row, and each success is one more
UNEVEN = """
  select t.* from pgflow.step_tasks t
  where t.stage <> 'closed' or t.attempts_count <> (t.status = 'completed')::int + (
    select count(*) from pgflow.attempts a
    where (a.run_id, a.step_slug, a.task_index) = (t.run_id, t.step_slug, t.task_index)
      and a.error_type <> 'WorkerLost')
"""
SERVED: LiteralString = """
  select w.lease is null, count(*)::int from pgflow.step_tasks t
  join pgflow.workers w on w.worker_id = t.last_worker_id group by 1
"""


class Fleet:
    """Two of each kind; who is killed is replaced."""

    def __init__(self, workshop: Workshop, crew: Crew, chance: random.Random) -> None:
        self._workshop = workshop
        self._crew = crew
        self._chance = chance
        self._foreign: list[Member] = []
        self._dead: list[str] = []
        for _ in range(2):
            self._ours()
            self._foreign.append(self._stranger())

    def _ours(self) -> None:
        self._crew.start("tests.chaos.mixed:app", concurrency=2, lease=6.0)

    def _stranger(self) -> Member:
        said = {"dsn": self._workshop.dsn, "flows": [flow.slug for flow in FLOWS]}
        return self._crew.launch("tests.chaos.foreign", json.dumps(said), str(self._crew.log))

    async def at_work(self) -> None:
        strangers = "select 1 from pgflow.workers where lease is null having count(*) >= %s"
        await self._workshop.until(strangers, 2 * len(FLOWS), patience=60)
        await until(lambda: len(self._crew.at_work()) >= 2, lambda: "ours are late", 60)

    def kill_two(self) -> None:
        """One of each kind."""
        ours = [member for member in self._crew.members if member not in self._foreign]
        lost, stranger = self._chance.choice(ours), self._chance.choice(self._foreign)
        for member in (lost, stranger):
            member.kill()
            member.process.wait()
            self._crew.members.remove(member)
        self._ours()
        self._dead.append(f"foreign-{stranger.pid}")
        self._foreign.remove(stranger)
        self._foreign.append(self._stranger())

    @property
    def kills(self) -> int:
        return len(self._dead)

    def pass_time(self) -> None:
        self._workshop.rows(LATER, self._dead)

    async def dismiss(self) -> None:
        """Drain the strangers as an operator does; the last to come may register only now."""
        drain = "update pgflow.workers set deprecated_at = now() where lease is null"
        end = time.monotonic() + PATIENCE
        while any(member.process.poll() is None for member in self._foreign):
            assert time.monotonic() < end
            self._workshop.rows(drain)
            await asyncio.sleep(0.2)
        assert [member.process.wait() for member in self._foreign] == [0, 0]


@pytest.mark.parametrize(
    "runs", [pytest.param(250, marks=pytest.mark.timeout(400)), pytest.param(2000, marks=LONG)]
)
async def test_a_mixed_fleet_loses_nothing_and_does_nothing_twice(
    workshop: Workshop, crew: Crew, runs: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    fleet = Fleet(workshop, crew, random.Random(seed))
    await fleet.at_work()
    started: list[tuple[Any, int, Any]] = []
    for flow in FLOWS:
        inputs = range(runs // len(FLOWS))
        for number, run in zip(inputs, await workshop.client.start_many(flow, inputs), strict=True):
            started.append((flow, number, run))
    await under_fire(workshop, fleet, runs)
    async with asyncio.timeout(PATIENCE):
        while live(workshop):
            fleet.pass_time()
            await asyncio.sleep(0.2)
    for flow, number, run in started:
        assert await run.result(60) == expected(flow, number)
    await fleet.dismiss()
    assert crew.wrote("crowded") == []
    assert workshop.rows(UNEVEN) == []
    assert workshop.broken() == []
    served = dict(workshop.rows(SERVED))
    print(f"{fleet.kills} kills of each kind; whose hand was last (foreign: True): {served}")
    assert set(served) == {True, False}


async def under_fire(workshop: Workshop, fleet: Fleet, runs: int) -> None:
    """Kill one every now and then, until most of the runs have ended."""
    pauses = pause(runs)
    async with asyncio.timeout(PATIENCE):
        while live(workshop) > runs / 4:
            await asyncio.sleep(next(pauses))
            fleet.kill_two()
            fleet.pass_time()


def pause(runs: int) -> Iterator[float]:
    """Longer on a machine that has other things to do: what was started shall come to work."""
    chance = random.Random(runs)
    while True:
        yield chance.uniform(0.3, 1.5) * (1 + os.getloadavg()[0] / (4 * (os.cpu_count() or 1)))


def live(workshop: Workshop) -> int:
    return workshop.rows("select count(*)::int from pgflow.runs where status = 'started'")[0][0]
