"""A flow at its cap stands in nobody's way, and never passes it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from stepwell import Context, Flow, Stepwell, job
from stepwell.errors import SettingsError
from stepwell.observe.events import SettingUnused, TaskStarted
from stepwell.settings import Settings

from .workshop import Workshop

most: list[int] = []
running: list[str] = []
gates: dict[str, asyncio.Event] = {}
threads = threading.Event()

heavy = Flow("heavy", priority=-5)  # it goes first, wherever there is a choice


@heavy.map
async def lift(n: int) -> int:
    running.append("heavy")
    most.append(running.count("heavy"))
    await gates["heavy"].wait()
    running.remove("heavy")
    return n


@heavy.step
async def rest(lift: list[int]) -> int:
    return sum(lift)


@job
async def light(n: int) -> int:
    return n


@job(transactional=True)
async def booked(ctx: Context, n: int) -> int:
    await asyncio.sleep(0.02)
    return n


@job(timeout=1, max_attempts=1)
def stubborn() -> None:
    threads.wait(60)


app = Stepwell(flows=[heavy], jobs=[light, booked, stubborn])


@pytest.fixture(autouse=True)
def fresh() -> None:
    most.clear()
    running.clear()
    gates["heavy"] = asyncio.Event()
    threads.clear()


async def test_what_is_capped_lets_others_pass_and_never_passes_its_cap(workshop: Workshop) -> None:
    async with workshop.worker(app=app, concurrency=8, flow_concurrency="heavy=3") as serving:
        heavies = [await workshop.client.start(heavy, list(range(9))) for _ in range(2)]
        await serving.events.until(lambda: running.count("heavy") == 3)
        lights = [await workshop.client.enqueue(light.call(n)) for n in range(20)]
        assert [await run.result(timeout=30) for run in lights] == list(range(20))
        assert running.count("heavy") == 3
        gates["heavy"].set()
        results = [await run.result(timeout=30) for run in heavies]
    assert results == [{"rest": 36}, {"rest": 36}]
    assert max(most) == 3
    started = [e for e in serving.events.of(TaskStarted) if e.flow == "heavy"]
    assert len(started) == 20


async def test_room_is_filled_without_waiting_for_the_poll(workshop: Workshop) -> None:
    """With one at a time and a poll of a minute, each end must make it look again."""
    gates["heavy"].set()
    settings = {"concurrency": 4, "flow_concurrency": "heavy=1", "poll": 60.0, "wake": "poll"}
    run = await workshop.client.start(heavy, list(range(30)))
    async with workshop.worker(app=app, **settings):
        assert await run.result(timeout=30) == {"rest": sum(range(30))}
    assert max(most) == 1


async def test_an_outcome_that_committed_by_itself_leaves_room_too(workshop: Workshop) -> None:
    settings = {"concurrency": 4, "flow_concurrency": "booked=1", "poll": 60.0, "wake": "poll"}
    runs = await workshop.client.enqueue_many([booked.call(n=n) for n in range(10)])
    async with workshop.worker(app=app, **settings):
        assert [await run.result(timeout=30) for run in runs] == list(range(10))


async def test_a_thread_that_was_given_up_still_counts(workshop: Workshop) -> None:
    first = await workshop.client.enqueue(stubborn.call())
    async with workshop.worker(app=app, flow_concurrency="stubborn=1", grace=0.0) as serving:
        assert (await first.wait(timeout=30)).status == "failed"  # its thread goes on
        second = await workshop.client.enqueue(stubborn.call())
        other = await workshop.client.enqueue(light.call(1))
        assert await other.result(timeout=30) == 1
        started = [e.run_id for e in serving.events.of(TaskStarted) if e.flow == "stubborn"]
        assert started == [first.id]
        threads.set()
        assert (await second.wait(timeout=30)).status == "completed"


async def test_names_in_the_settings_that_nothing_has_are_told(workshop: Workshop) -> None:
    settings = {"queues": "heavy,hevay", "flow_concurrency": "heavy=2,lihgt=1", "lease": 6.0}
    async with workshop.worker(app=app, **settings) as serving:
        await serving.events.first(SettingUnused, 2)
    told = [(e.setting, e.name) for e in serving.events.of(SettingUnused)]
    assert told == [("queues", "hevay"), ("flow_concurrency", "lihgt")]
    assert "heavy" in serving.events.of(SettingUnused)[0].known


@pytest.mark.parametrize("text", ["heavy", "heavy=", "heavy=0", "=3", "heavy=1.5", "a=1,a=2"])
def test_a_cap_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="flow_concurrency"):
        Settings(flow_concurrency=text)
