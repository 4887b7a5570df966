"""What others do to a run, a flow or a version harms that one alone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg
import pytest

from stepwell import Context, Flow, RunFailed
from stepwell.db.call import Call
from stepwell.db.link import Link
from stepwell.observe.events import OutcomeHeld

from .timing import undisturbed
from .workshop import PATIENCE, Workshop


def single(slug: str, **options: Any) -> Flow[int, Any]:
    flow = Flow[int, Any](slug, base_delay=0, **options)

    @flow.step
    async def work(flow_input: int) -> int:
        return flow_input

    return flow


async def test_a_held_run_keeps_nobody_else_waiting(workshop: Workshop) -> None:
    flow = Flow[int, Any]("slow", max_attempts=1, timeout=60)
    begun: list[int] = []
    held = asyncio.Event()

    @flow.step
    async def work(flow_input: int) -> int:
        begun.append(flow_input)
        if flow_input < 3:
            await held.wait()  # else the outcome can be written before the run is held
        return flow_input

    async def other() -> float:
        began = time.monotonic()
        run = await workshop.client.start(flow, 3)
        assert await run.result(PATIENCE) == {"work": 3}
        return time.monotonic() - began

    async with workshop.worker(flow) as serving:
        runs = await workshop.client.start_many(flow, range(3))
        while len(begun) < 3:
            await asyncio.sleep(0.01)
        with psycopg.connect(workshop.dsn) as holder:
            holder.execute(
                "select from pgflow.runs where run_id = any (%s) for update",
                ([run.id for run in runs],),
            )
            held.set()
            await serving.events.first(OutcomeHeld)
            for _ in range(3):
                assert await undisturbed(workshop.dsn, 4, other) < 4
            holder.rollback()
        for number, run in enumerate(runs):
            assert await run.result(PATIENCE) == {"work": number}
    assert workshop.rows("select count(*) from pgflow.attempts") == [(0,)]


async def test_a_short_lock_timeout_refuses_no_outcome(workshop: Workshop) -> None:
    workshop.rows(
        "do $$ begin execute format('alter database %I set lock_timeout = %L',"
        " current_database(), '50ms'); end $$"
    )
    flow = Flow[int, Any]("locked", max_attempts=1, base_delay=0)
    held = asyncio.Event()

    @flow.step
    async def work(flow_input: int) -> int:
        await held.wait()  # else the outcome can be written before the run is held
        return flow_input

    async with workshop.worker(flow) as serving:
        with psycopg.connect(workshop.dsn) as holder:
            run = await workshop.client.start(flow, 42)
            holder.execute("select from pgflow.runs for update")
            held.set()
            await serving.events.first(OutcomeHeld)
            await asyncio.sleep(1.5)
            holder.rollback()
        assert await run.result(PATIENCE) == {"work": 42}
    assert workshop.rows("select count(*) from pgflow.attempts") == [(0,)]


async def test_a_step_added_in_sql_stops_no_worker(workshop: Workshop) -> None:
    flow, other = single("grown"), single("other")
    async with workshop.worker(flow, other) as serving:
        workshop.rows("select * from pgflow.add_step('grown', 'extra', array['work'])")
        grown = await workshop.client.start("grown", 1)
        assert await (await workshop.client.start(other, 2)).result(PATIENCE) == {"work": 2}
        assert not serving.task.done()
        assert (await grown.info()).status == "started"  # nobody has code for it


async def test_what_was_claimed_with_a_step_without_code_does_not_wait_for_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have no place yet and be known to nobody: another turn would take its place, and one
    that looks for claims of lost answers would give it back while it begins."""
    flow = Flow[int, Any]("mixed")
    begun, giving_back, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run_call = Link.run

    async def held_up(link: Link, call: Call[Any]) -> list[Any]:
        if "release_tasks" in call.sql:
            giving_back.set()
            await go_on.wait()
        return await run_call(link, call)

    @flow.step
    async def work(flow_input: int) -> int:
        begun.set()
        return flow_input

    monkeypatch.setattr(Link, "run", held_up)
    async with workshop.worker(flow):
        workshop.rows("select * from pgflow.add_step('mixed', 'extra')")  # a root too
        await workshop.client.start("mixed", 1)
        async with asyncio.timeout(PATIENCE):
            await giving_back.wait()
            await begun.wait()
        go_on.set()
        await workshop.until(
            "select 1 from pgflow.step_states where step_slug = 'work' and status = 'completed'"
        )
        await workshop.until(
            "select 1 from pgflow.step_tasks where step_slug = 'extra' and stage = 'ready'"
        )


async def test_a_step_added_to_a_version_with_runs_makes_a_version(workshop: Workshop) -> None:
    flow = single("kept")
    run = await workshop.client.start(flow, 1)
    workshop.rows("select * from pgflow.add_step('kept', 'extra', array['work'])")
    counts = workshop.rows(
        "select v.version, count(*) from pgflow.versions v join pgflow.steps s using (version_id)"
        " group by 1 order by 1"
    )
    assert counts == [(1, 1), (2, 2)]
    async with workshop.worker(flow):
        assert await run.result(PATIENCE) == {"work": 1}


async def test_a_changed_queue_leaves_no_run_behind(workshop: Workshop) -> None:
    before = await workshop.client.start(single("moved"), 1)
    async with workshop.worker(single("moved", queue="fast")):
        assert await before.result(PATIENCE) == {"work": 1}
        after = await workshop.client.start(single("moved", queue="fast"), 2)
        assert await after.result(PATIENCE) == {"work": 2}
    queues = workshop.rows("select queue from pgflow.step_tasks order by message_id")
    assert queues == [("moved",), ("fast",)]


async def test_new_code_gets_the_input_of_old_runs(workshop: Workshop) -> None:
    old = Flow[dict[str, int], Any]("wider")

    @old.step
    async def first(flow_input: dict[str, int]) -> int:
        return 1

    @old.step
    async def second(first: int) -> int:
        return first

    new = Flow[dict[str, int], Any]("wider")

    @new.step(slug="first")
    async def first_again(flow_input: dict[str, int]) -> int:
        return 1

    @new.step(slug="second")
    async def second_again(first: int, flow_input: dict[str, int]) -> int:
        return first + flow_input["n"]

    @new.step
    async def third(second: int) -> int:
        return second

    run = await workshop.client.start(old, {"n": 41})
    async with workshop.worker(new):
        assert await run.result(PATIENCE) == {"second": 42}


async def test_every_element_that_failed_is_on_record(workshop: Workshop) -> None:
    flow = Flow[list[int], Any]("sixfold", max_attempts=2, base_delay=0)

    all_failed = asyncio.Event()

    @flow.map
    async def each(n: int, ctx: Context) -> int:
        if ctx.last_attempt:
            await all_failed.wait()  # else one of them ends the run before the others have failed
        raise ValueError(f"no {n}")

    run = await workshop.client.start(flow, list(range(6)))
    async with workshop.worker(flow, concurrency=20):
        await workshop.until("select 1 from pgflow.attempts having count(distinct task_index) = 6")
        all_failed.set()
        with pytest.raises(RunFailed, match="ValueError: no"):
            await run.result(PATIENCE)
    tried = workshop.rows("select task_index, count(*) from pgflow.attempts group by 1")
    assert len(tried) == 6
    assert all(count >= 1 for _, count in tried)


async def test_a_type_violation_is_an_attempt_of_its_own(workshop: Workshop) -> None:
    flow = Flow[int, Any]("typed", max_attempts=2, base_delay=0)
    tries: list[int] = []

    @flow.step
    async def make(flow_input: int) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("boo")
        return {"no": "list"}

    @flow.map(over=make)
    async def each(n: int) -> int:
        return n

    run = await workshop.client.start(flow, 1)
    async with workshop.worker(flow):
        with pytest.raises(RunFailed, match="TypeViolation"):
            await run.result(PATIENCE)
    types = workshop.rows("select error_type from pgflow.attempts order by attempt_id")
    assert types == [("ValueError",), ("TypeViolation",)]
