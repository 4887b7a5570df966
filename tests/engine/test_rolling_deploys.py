"""Processes with the old code and the new code side by side: each run ends on the code that it
began with, and waits for it where nobody has it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stepwell import Run
from tests.chaos.crew import Crew, Member
from tests.chaos.rolling import Parcel, Parcel2, greet, greet_2, sweep

from .workshop import Workshop, workshop_on

pytestmark = pytest.mark.timeout(180)  # programs, on a busy machine
OLD = ["old pack", "old weigh", "old ship"]
NEW = "new weigh, new pack, new insure, new ship"
UNTOUCHED = """
  select count(*)::int from pgflow.step_tasks t join pgflow.runs r using (run_id)
  where r.kind = 'machine' and t.stage = 'ready' and t.attempts_count = 0
    and t.last_worker_id is null
"""
PARKED = """
  select 1 where %s = (
    select count(*) from pgflow.step_tasks t join pgflow.versions v using (version_id)
    where v.version = %s and t.stage = 'parked')
"""


@pytest_asyncio.fixture
async def workshop(dsn: str) -> AsyncGenerator[Workshop]:
    async with workshop_on(dsn) as workshop:
        yield workshop


@pytest.fixture
def crew(dsn: str, tmp_path: Path) -> Generator[Crew]:
    with Crew(dsn, tmp_path) as crew:
        yield crew


async def hire(crew: Crew, code: str) -> Member:
    member = crew.start(f"tests.chaos.rolling:{code}")
    await member.says("WorkerStarted")
    return member


async def start(workshop: Workshop, each: int) -> tuple[list[Run[Any]], list[Run[Any]]]:
    """Runs of both versions, in turns."""
    machines = [machine for _ in range(each) for machine in (Parcel(), Parcel2())]
    runs = await workshop.client.enqueue_many(machines)
    return runs[::2], runs[1::2]


async def send(workshop: Workshop, runs: list[Run[Any]]) -> None:
    for run in runs:
        await workshop.client.signal(run, "sent")


async def outputs(runs: list[Run[Any]]) -> list[Any]:
    return [await run.result(45) for run in runs]


def ran(crew: Crew, *members: Member) -> set[str]:
    """Whose code ran in these processes."""
    pids = {str(member.pid) for member in members}
    return {code for _, _, code, _, pid in crew.wrote("ran") if pid in pids}


async def test_each_run_ends_on_its_version(workshop: Workshop, crew: Crew) -> None:
    old, new = await start(workshop, 20)
    before, after = await hire(crew, "old"), await hire(crew, "new")
    more_old, more_new = await start(workshop, 20)
    await send(workshop, [*old, *new, *more_old, *more_new])
    assert await outputs(old + more_old) == [OLD] * 40
    assert await outputs(new + more_new) == [NEW] * 40
    assert (ran(crew, before), ran(crew, after)) == ({"old"}, {"new", "note"})


async def test_one_worker_may_have_both_versions(workshop: Workshop, crew: Crew) -> None:
    old, new = await start(workshop, 5)
    await hire(crew, "both")
    await send(workshop, old + new)
    assert await outputs(old + new) == [OLD] * 5 + [NEW] * 5


async def test_a_worker_with_neither_version_claims_nothing(workshop: Workshop, crew: Crew) -> None:
    old, new = await start(workshop, 5)
    stranger = await hire(crew, "stranger")
    last = [await workshop.client.enqueue(sweep.call()) for _ in range(5)]
    assert await outputs(last) == ["stranger perform"] * 5  # behind all others in the same queue
    await asyncio.sleep(1.0)  # two polls
    assert workshop.rows(UNTOUCHED) == [(10,)]
    await hire(crew, "both")
    await send(workshop, old + new)
    assert await outputs(old + new) == [OLD] * 5 + [NEW] * 5
    assert ran(crew, stranger) == {"stranger"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_runs_wait_for_their_code_to_come_back(
    workshop: Workshop, crew: Crew, how: signal.Signals
) -> None:
    old, new = await start(workshop, 10)
    before, after = await hire(crew, "old"), await hire(crew, "new")
    stranger = await hire(crew, "stranger")
    await workshop.until(PARKED, 10, 1)
    before.kill(how)
    await before.ended()
    await send(workshop, old)  # they could go on now
    unborn = await workshop.client.enqueue_many([Parcel() for _ in range(5)])
    await send(workshop, new)
    assert await outputs(new) == [NEW] * 10
    later = await workshop.client.enqueue_many([Parcel2() for _ in range(10)])
    await send(workshop, later)
    assert await outputs(later) == [NEW] * 10  # those that wait are in nobody's way
    await asyncio.sleep(1.0)
    rows = workshop.rows(
        "select t.stage, t.step_slug, t.attempts_count, t.requeued_count, count(*)::int"
        " from pgflow.step_tasks t join pgflow.versions v using (version_id)"
        " join pgflow.runs r using (run_id)"
        " where r.flow_slug = 'parcel' and v.version = 1 group by 1, 2, 3, 4 order by 2"
    )
    assert rows == [("ready", "pack", 0, 0, 5), ("ready", "ship", 0, 0, 10)]

    back = await hire(crew, "old")
    await send(workshop, unborn)
    assert await outputs(old + unborn) == [OLD] * 15
    assert ran(crew, before, back) == {"old"}
    assert ran(crew, after) == {"new", "note"}
    assert ran(crew, stranger) == set()


async def test_a_job_is_done_by_old_and_new_code_from_either_queue(
    workshop: Workshop, crew: Crew
) -> None:
    """The new code has it in another queue; what was enqueued before is done all the same."""
    client = workshop.client
    first = await client.enqueue_many([greet.call("ada") for _ in range(50)])
    before = await hire(crew, "old")
    after = await hire(crew, "new")
    runs = [*first]
    while not {"old", "new"} <= ran(crew, before, after):
        runs += await client.enqueue_many([greet.call("ada") for _ in range(20)])
        runs += await client.enqueue_many([greet_2.call("ada") for _ in range(20)])
        await asyncio.sleep(0.02)
    assert await outputs(runs) == ["hello ada"] * len(runs)

    before.kill(signal.SIGTERM)
    await before.ended()
    late = await client.enqueue_many([greet.call("bob") for _ in range(10)])
    polite = await client.enqueue_many([greet_2.call("bob", mark="!") for _ in range(10)])
    assert await outputs(late + polite) == ["hello bob"] * 10 + ["hello bob!"] * 10
    assert workshop.rows(
        "select count(*)::int, max(v.version) from pgflow.versions v where v.flow_slug = 'greet'"
    ) == [(1, 1)]
