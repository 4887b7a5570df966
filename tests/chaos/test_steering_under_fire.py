"""Runs are steered at random while they run and while their workers are killed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from stepwell import Client, Conflict, NotFound
from tests.engine.workshop import Workshop

from .crew import Crew
from .dynasty import House

LEASE = 12.0  # a busy machine keeps it, too
LONG = [pytest.mark.chaos, pytest.mark.timeout(300)]
SHORT = pytest.mark.timeout(300)
# of the newest, those that failed more often than they are many
SOME = """
  select run_id from (select run_id, status from pgflow.runs order by run_id desc limit 300) newest
  order by random() * case status when 'failed' then 0.1 else 1 end limit 20
"""
LIVE = "select count(*)::int from pgflow.runs where status = 'started'"
DEADLOCKS = "select deadlocks::int from pg_stat_database where datname = current_database()"
# sooner than a worker loses patience with a lock, which would hide it
NOTICE_DEADLOCKS = """
  do $$ begin
    execute format('alter database %I set deadlock_timeout = 100', current_database());
  end $$
"""
ACTIONS = [
    *["cancel", "cancel", "pause", "resume", "resume", "retry", "set_priority", "signal"],
    *["delete", "restart", "restart_from", "stop_queue", "stop_flow"],
]


class Person:
    """Somebody at a desk who does one thing after another."""

    def __init__(self, client: Client, chance: random.Random) -> None:
        self._client = client
        self._chance = chance
        self.did: Counter[str] = Counter()

    async def act(self, run: UUID) -> None:
        """What cannot be done at the moment is refused, and nothing else happens."""
        action = self._chance.choice(ACTIONS)
        with suppress(Conflict, NotFound):
            done = await self._do(action, run)
            self.did[action] += done is not False

    async def _do(self, action: str, run: UUID) -> object:
        client, chance = self._client, self._chance
        lane = chance.choice(["chore", "errand", "house", "trip"])
        match action:
            case "set_priority":
                return await client.set_priority(run, chance.randrange(-5, 5))
            case "signal":
                return await client.signal(run, chance.choice(["abdicate", "home"]))
            case "restart_from":
                return await client.restart(run, chance.choice(["reign", "home", "perform"]))
            case "stop_queue":
                await client.pause_queue(lane)
                await asyncio.sleep(chance.uniform(0, 0.1))
                return await client.resume_queue(lane)
            case "stop_flow":
                await client.pause_flow(lane)
                await asyncio.sleep(chance.uniform(0, 0.1))
                return await client.resume_flow(lane)
            case _:
                return await getattr(client, action)(run)


async def steer(person: Person, workshop: Workshop, over: asyncio.Event) -> None:
    while not over.is_set():
        for (run,) in workshop.rows(SOME):
            await person.act(run)
        await asyncio.sleep(0)


async def found(client: Client, workshop: Workshop, over: asyncio.Event) -> None:
    while not over.is_set():
        if workshop.rows(LIVE)[0][0] < 120:
            await client.enqueue_many([House(heirs=2) for _ in range(5)])
        await asyncio.sleep(0.1)


def done_by(people: list[Person]) -> set[str]:
    return {action for person in people for action, times in person.did.items() if times}


async def let_go(client: Client, workshop: Workshop) -> None:
    for (run,) in workshop.rows("select run_id from pgflow.runs where paused_at is not null"):
        await client.resume(run)


@pytest.mark.parametrize("seconds", [pytest.param(6, marks=SHORT), pytest.param(60, marks=LONG)])
async def test_whatever_is_done_to_runs_they_end_and_nothing_is_left(
    workshop: Workshop, tmp_path: Path, seconds: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    workshop.rows(NOTICE_DEADLOCKS)
    client = workshop.client
    people = [Person(client, random.Random(chance.random())) for _ in range(4)]
    with Crew(workshop.dsn, tmp_path, "tests.chaos.dynasty:app") as crew:
        for _ in range(3):
            crew.start(concurrency=8, lease=LEASE)
        end, over, kills = time.monotonic() + seconds, asyncio.Event(), 0
        async with asyncio.TaskGroup() as group:
            group.create_task(found(client, workshop, over))
            for person in people:
                group.create_task(steer(person, workshop, over))
            # on a machine so busy that not all was done by then, for longer
            while time.monotonic() < end or (
                not (kills >= 3 and done_by(people) == set(ACTIONS)) and time.monotonic() < end + 60
            ):
                await asyncio.sleep(chance.uniform(0.4, 1.2))
                if len(crew.at_work()) < 2:
                    continue  # else nobody might ever come to work
                crew.replace(chance.choice(crew.members), concurrency=8, lease=LEASE)
                kills += 1
                assert workshop.broken() == []
            over.set()
        await let_go(client, workshop)
        await workshop.until(
            "select 1 where not exists (select from pgflow.runs where status = 'started')"
            " and not exists (select from pgflow.slots)",
            patience=120,
        )
        assert crew.wrote("crowded") == []
        assert crew.broken() == []
        assert crew.heard("WorkerStopping") == 0  # nobody lost a lease
    did = Counter(action for person in people for action in person.did.elements())
    print(f"{len(crew.wrote('in'))} bodies, {kills} kills; {dict(did)}")
    assert kills >= 3
    assert done_by(people) == set(ACTIONS)
    print(workshop.rows("select kind, status, count(*)::int from pgflow.runs group by 1, 2"))
    assert workshop.rows(DEADLOCKS) == [(0,)]
