"""Jobs by pgflow's names: enqueue, enqueue_in, enqueue_at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Client, DefinitionError, InvalidArgument, PayloadError, Stepwell, job
from stepwell.client.run import Run

from .workshop import Workshop

PATIENCE = 45.0
PAST = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@job(name="greet", max_attempts=1)
def greet(name: str, times: int = 1) -> str:
    return f"hello {name}" * times


@job(name="greet_later", max_attempts=1)
async def greet_later(name: str) -> str:
    return f"hello {name}"


async def delay_of(workshop: Workshop, run: Run[Any]) -> tuple[str, float]:
    """Where the task is, and how many seconds after the start it may begin."""
    [(stage, delay)] = workshop.rows(
        "select t.stage, extract(epoch from t.ready_at - r.started_at)::float8"
        " from pgflow.step_tasks t join pgflow.runs r using (run_id) where r.run_id = %s",
        run.id,
    )
    return stage, delay


async def test_all_ways_to_say_what_is_to_be_done(workshop: Workshop) -> None:
    client = workshop.client
    async with workshop.worker(app=Stepwell(jobs=[greet, greet_later])):
        runs = [
            await client.enqueue(greet.call(name="Ada")),
            await client.enqueue(greet, {"name": "Ada"}),
            await client.enqueue("greet", {"name": "Ada", "times": 1}),
            await client.enqueue_in(greet.call(name="Ada"), 0),
            await client.enqueue_in(greet, {"name": "Ada"}, 0),
            await client.enqueue_at(greet.call(name="Ada"), PAST),
            await client.enqueue_at("greet", {"name": "Ada", "times": 1}, PAST),
            await client.enqueue(greet_later, {"name": "Ada"}),
        ]
        assert [await run.result(PATIENCE) for run in runs] == ["hello Ada"] * len(runs)


async def test_a_job_may_begin_later(workshop: Workshop) -> None:
    client = workshop.client
    for run in (
        await client.enqueue(greet, {"name": "Ada"}, delay_seconds=90),
        await client.enqueue_in(greet, {"name": "Ada"}, 90),
        await client.enqueue_in(greet.call(name="Ada"), timedelta(seconds=90)),
        await client.enqueue_in("greet", {"name": "Ada"}, delay_seconds=90),
        await client.enqueue_in(greet, arguments={"name": "Ada"}, delay_seconds=90),
    ):
        assert await delay_of(workshop, run) == ("delayed", 90)


async def test_a_job_may_begin_at_a_time(workshop: Workshop) -> None:
    client = workshop.client
    for run in (
        await client.enqueue(greet, {"name": "Ada"}, scheduled_at=FAR),
        await client.enqueue(greet, {"name": "Ada"}, scheduled_at=FAR, delay_seconds=5),
        await client.enqueue_at(greet.call(name="Ada"), FAR),
        await client.enqueue_at(greet, {"name": "Ada"}, scheduled_at=FAR, key="k"),
    ):
        [(at,)] = workshop.rows("select ready_at from pgflow.step_tasks where run_id = %s", run.id)
        assert at == FAR


async def test_a_time_that_is_over_means_now(workshop: Workshop) -> None:
    run = await workshop.client.enqueue_at(greet, {"name": "Ada"}, PAST)
    assert await delay_of(workshop, run) == ("ready", 0)


@pytest.mark.parametrize("delay", [-1, "5", None, float("nan"), True, timedelta(seconds=-1)])
async def test_a_delay_that_is_none_is_refused(dsn: str, delay: Any) -> None:
    async with Client(dsn) as client:
        with pytest.raises(InvalidArgument, match="delay_seconds is") as caught:
            await client.enqueue_in(greet, {"name": "Ada"}, delay)
        assert caught.value.reason == "invalid_delay_seconds"
        assert await client.list() == []


@pytest.mark.parametrize("at", [7, "2030-01-01", None, datetime(2030, 1, 1)])
async def test_a_time_that_is_none_is_refused(dsn: str, at: Any) -> None:
    async with Client(dsn) as client:
        with pytest.raises(InvalidArgument, match="scheduled_at is") as caught:
            await client.enqueue_at(greet, {"name": "Ada"}, at)
        assert caught.value.reason == "invalid_scheduled_at"
        assert await client.list() == []


async def test_arguments_are_checked_before_anything_is_started(dsn: str) -> None:
    wrong: Any = ["Ada"]
    async with Client(dsn) as client:
        enqueue: Any = client.enqueue
        with pytest.raises(PayloadError, match="'name'"):
            await client.enqueue(greet, {"name": 7})
        with pytest.raises(PayloadError, match="missing a required argument"):
            await client.enqueue(greet, {"nane": "Ada"})
        with pytest.raises(PayloadError, match="give them by name"):
            await client.enqueue(greet, wrong)
        with pytest.raises(DefinitionError, match="enqueue: no run can be started of"):
            await client.enqueue(wrong)
        with pytest.raises(TypeError, match="has its input already"):
            await enqueue(greet.call(name="Ada"), wrong)
        enqueue_in: Any = client.enqueue_in
        with pytest.raises(TypeError, match=r"takes \(job, arguments, delay_seconds\)"):
            await enqueue_in(greet, {"name": "Ada"})
        with pytest.raises(TypeError, match=r"takes \(call, delay_seconds\)"):
            await enqueue_in(greet.call(name="Ada"))
        assert await client.list() == []


def test_the_same_without_a_loop(dsn: str) -> None:
    with Client.sync(dsn) as client:
        runs = [
            client.enqueue(greet, {"name": "Ada"}, delay_seconds=90),
            client.enqueue_in(greet.call(name="Ada"), 90),
            client.enqueue_at(greet, {"name": "Ada"}, FAR),
        ]
        assert [run.info().status for run in runs] == ["started"] * 3
        assert [run.steps()[0].status for run in runs] == ["delayed"] * 3
        with pytest.raises(InvalidArgument):
            client.enqueue_in(greet, {"name": "Ada"}, -1)
