"""Workers that are killed while they hold slots: no limit is ever passed, and none stays closed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from stepwell import Client
from tests.engine.workshop import Workshop

from .crew import Crew
from .keyed import KEYS, a_round

LEASE = 8.0  # a busy machine keeps it, too
SHORT = pytest.mark.timeout(150)
LONG = [pytest.mark.chaos, pytest.mark.timeout(300)]
SLOTS = """
  select distinct w.pid from pgflow.slots s join pgflow.workers w on w.worker_id = s.worker_id
"""
LIVE = "select count(*)::int from pgflow.runs where status = 'started'"


class Watch:
    """Looks all the time at how long ago those died who still hold a slot."""

    def __init__(self) -> None:
        self.deaths: dict[int, float] = {}
        self.longest = 0.0

    async def look(self, conn: AsyncConnection[Any]) -> None:
        while True:
            now = time.monotonic()
            for (pid,) in await (await conn.execute(SLOTS)).fetchall():
                if pid in self.deaths:
                    self.longest = max(self.longest, now - self.deaths[pid])
            await asyncio.sleep(0.05)


@asynccontextmanager
async def watching(dsn: str) -> AsyncGenerator[Watch]:
    watch = Watch()
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        looking = asyncio.create_task(watch.look(conn))
        try:
            yield watch
            assert not looking.done()
        finally:
            looking.cancel()
            await asyncio.wait([looking])


async def keep_busy(client: Client, workshop: Workshop, over: asyncio.Event) -> None:
    """As long as it is not over, somebody waits for each key."""
    while not over.is_set():
        if workshop.rows(LIVE)[0][0] < 5 * len(KEYS):
            await client.enqueue_many(a_round())
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("seconds", [pytest.param(10, marks=SHORT), pytest.param(120, marks=LONG)])
async def test_keys_and_limits_hold_while_workers_are_killed(
    workshop: Workshop, tmp_path: Path, seconds: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with Crew(workshop.dsn, tmp_path, "tests.chaos.keyed:app") as crew:
        for _ in range(4):
            crew.start(concurrency=8, lease=LEASE)
        async with watching(workshop.dsn) as watch:
            kills, end, enough = 0, time.monotonic() + seconds, asyncio.Event()
            busy = asyncio.create_task(keep_busy(workshop.client, workshop, enough))
            # on a machine so busy that the crew has not done much by then, for longer
            while time.monotonic() < end or (watch.longest == 0 and time.monotonic() < end + 40):
                await asyncio.sleep(chance.uniform(0.3, 1.2))
                if len(crew.at_work()) < 3:
                    continue  # somebody must be left to take the slots back
                victim = chance.choice(crew.members)
                crew.replace(victim, concurrency=8, lease=LEASE)
                watch.deaths[victim.pid] = time.monotonic()
                kills += 1
                assert crew.wrote("crowded") == []
                assert workshop.broken() == []
            enough.set()
            await busy
            over = time.monotonic()
            await workshop.until(
                "select 1 where not exists (select from pgflow.runs where status = 'started')",
                patience=60,
            )
            await workshop.until(
                "select 1 where not exists (select from pgflow.slots)", patience=LEASE
            )
        bodies = crew.wrote("in")
        [(runs, requeued)] = workshop.rows(
            "select (select count(*) from pgflow.runs),"
            " (select sum(requeued_count) from pgflow.step_tasks)"
        )
        print(
            f"{runs} runs, {len(bodies)} bodies, {kills} kills, {requeued} tasks of lost workers;"
            f" a dead worker's slot was held for {watch.longest:.1f} s at most (lease {LEASE});"
            f" {time.monotonic() - over:.1f} s to the end"
        )
        assert crew.wrote("crowded") == []
        assert crew.broken() == []
        assert crew.heard("WorkerStopping") == 0  # nobody lost a lease
    assert workshop.rows("select run_id from pgflow.runs where status <> 'completed'") == []
    assert 0 < watch.longest <= LEASE
    assert {place for _, name, place in bodies if name == "trio"} == {"0", "1", "2"}
    assert {name for _, name, _ in bodies} == {*KEYS, "trio"}
