"""What pgflow's clients can do, in Python: start, wait, look, with values and typed errors."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell import (
    Client,
    Flow,
    InvalidArgument,
    NotFound,
    PayloadError,
    RunCancelled,
    RunFailed,
    RunTimeout,
    StepwellError,
    job,
)
from stepwell.client.flow_run import FlowRunWithStates

from .workshop import Workshop

PATIENCE = 45.0
sums = Flow[list[int], dict[str, Any]]("sums")


@sums.map
def double(number: int) -> int:
    return 2 * number


@sums.step
def total(double: list[int]) -> int:
    return sum(double)


falsy = Flow("falsy")


@falsy.step
def nothing(flow_input: Any) -> Any:
    return flow_input


failing = Flow("failing", max_attempts=1)


@failing.step
def boom(flow_input: int) -> int:
    raise ValueError("no luck")


@failing.step
def never(boom: int) -> int:
    return boom


patient = Flow("patient")
patient.signal("go")


@job(name="greet", max_attempts=1)
def greet(name: str, times: int = 1) -> str:
    return f"hello {name}" * times


async def test_a_flow_is_started_by_itself_and_by_its_name(workshop: Workshop) -> None:
    client = workshop.client
    async with workshop.worker(sums):
        by_flow = await client.start_flow(sums, [1, 2, 3])
        by_name = await client.start_flow("sums", [4])
        assert isinstance(by_flow.id, UUID)
        assert await by_flow.result(PATIENCE) == {"total": 12}
        assert await by_name.result(PATIENCE) == {"total": 8}


async def test_a_start_and_its_end_in_one_call(workshop: Workshop) -> None:
    async with workshop.worker(sums):
        run = await workshop.client.start_flow_sync(sums, [1, 2, 3], timeout=PATIENCE)
        slow = await workshop.client.start_flow_sync(
            "sums", [], timeout=PATIENCE, poll_interval=0.01
        )
    assert (run.flow_slug, run.kind, run.status) == ("sums", "flow", "completed")
    assert (run.input, run.output, run.remaining_steps) == ([1, 2, 3], {"total": 12}, 0)
    assert run.completed_at is not None and run.completed_at >= run.started_at
    assert (run.failed_at, run.error_message) == (None, None)
    states = {state.step_slug: state for state in run.step_states}
    assert list(states) == ["double", "total"]
    assert (states["double"].status, states["double"].output) == ("completed", [2, 4, 6])
    assert (states["double"].initial_tasks, states["double"].remaining_tasks) == (3, 0)
    assert slow.output == {"total": 0}


async def test_falsy_outputs_stay_what_they_are(workshop: Workshop) -> None:
    async with workshop.worker(falsy):
        values: list[Any] = [0, "", False, None, [], {}]
        for value in values:
            run = await workshop.client.start_flow_sync(falsy, value, timeout=PATIENCE)
            assert run.output == {"nothing": value}
            assert [state.output for state in run.step_states] == [value]


async def test_a_run_that_fails_ends_the_wait_and_is_in_the_error(workshop: Workshop) -> None:
    async with workshop.worker(failing):
        with pytest.raises(RunFailed) as caught:
            await workshop.client.start_flow_sync(failing, 1, timeout=PATIENCE)
    error = caught.value
    assert (error.step, error.error_type, error.message) == ("boom", "ValueError", "no luck")
    assert isinstance(error.run, FlowRunWithStates)
    assert (error.run.run_id, error.run.status) == (error.run_id, "failed")
    assert error.run.failed_at is not None
    assert [state.status for state in error.run.step_states] == ["failed", "created"]


async def test_a_run_that_is_cancelled_ends_the_wait_too(workshop: Workshop) -> None:
    client = workshop.client
    waiting = asyncio.create_task(
        client.start_flow_sync(patient, {}, timeout=PATIENCE, key="patient")
    )
    await workshop.until("select run_id from pgflow.runs where key = 'patient'", patience=PATIENCE)
    await client.cancel("patient", "enough")
    with pytest.raises(RunCancelled, match="enough") as caught:
        await waiting
    assert isinstance(caught.value.run, FlowRunWithStates)
    assert caught.value.run.status == "cancelled"


@pytest.mark.parametrize("poll_interval", [0.01, 0.5])
async def test_a_wait_that_takes_too_long_names_the_run(
    workshop: Workshop, poll_interval: float
) -> None:
    with pytest.raises(RunTimeout) as caught:
        await workshop.client.start_flow_sync(
            patient, {}, timeout=0.05, poll_interval=poll_interval
        )
    assert isinstance(caught.value, TimeoutError)
    run = await workshop.client.get_run(caught.value.run_id)  # it goes on
    assert run.status == "started"


async def test_what_is_not_there_cannot_be_started(workshop: Workshop) -> None:
    with pytest.raises(NotFound, match="'nobody'"):
        await workshop.client.start_flow("nobody", {})
    with pytest.raises(NotFound):
        await workshop.client.start_flow_sync("nobody", {})


async def test_a_flow_over_a_list_wants_a_list(workshop: Workshop) -> None:
    with pytest.raises(PayloadError):
        wrong: Any = {"no": "list"}
        await workshop.client.start_flow(sums, wrong)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"timeout": -1}, "invalid_timeout"),
        ({"timeout": "long"}, "invalid_timeout"),
        ({"poll_interval": 0}, "invalid_poll_interval"),
        ({"poll_interval": None}, "invalid_poll_interval"),
    ],
)
async def test_a_wait_that_means_nothing_is_refused(
    workshop: Workshop, given: Any, reason: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await workshop.client.start_flow_sync("nobody", {}, **given)
    assert caught.value.reason == reason


async def test_a_run_is_looked_up_by_its_id(workshop: Workshop) -> None:
    client = workshop.client
    started = await client.start_flow(patient, {"n": 1}, key="k")
    run = await client.get_run(started.id)
    assert run == await client.get_run(str(started.id)) == await client.get_run(started)
    assert (run.run_id, run.status, run.input, run.output) == (
        started.id,
        "started",
        {"n": 1},
        None,
    )
    assert (run.remaining_steps, run.key, run.completed_at) == (1, "k", None)
    whole = await client.get_run_with_states(started.id)
    assert whole.run_id == run.run_id
    [state] = whole.step_states
    assert (state.step_slug, state.status, state.initial_tasks) == ("go", "started", 1)
    assert state.run_id == run.run_id and state.completed_at is None


async def test_the_one_step_of_a_job_is_told_like_that_of_a_flow(workshop: Workshop) -> None:
    client = workshop.client
    started = await client.enqueue(greet, {"name": "Ada"})
    run = await client.get_run_with_states(started.id)
    [state] = run.step_states
    assert (run.kind, state.step_slug, state.status) == ("job", "perform", "started")
    assert (state.remaining_tasks, state.output) == (1, None)
    await client.cancel(started)
    [state] = (await client.get_run_with_states(started.id)).step_states
    assert (state.status, state.error_message) == ("failed", "cancelled")


async def test_what_is_no_run_is_not_found(workshop: Workshop) -> None:
    client = workshop.client
    for look in (client.get_run, client.get_run_with_states):
        with pytest.raises(NotFound):
            await look(uuid4())
        with pytest.raises(InvalidArgument, match="'nonsense' is no run id") as caught:
            await look("nonsense")
        assert caught.value.reason == "invalid_id"
        assert isinstance(caught.value, StepwellError | ValueError)


def test_the_same_without_a_loop(dsn: str) -> None:
    with Client.sync(dsn) as client:
        started = client.start_flow(patient, None)
        assert client.get_run(str(started.id)).status == "started"
        assert [s.status for s in client.get_run_with_states(started.id).step_states] == ["started"]
        for interval in (0.01, 0.5):
            with pytest.raises(RunTimeout):
                client.start_flow_sync(patient, {}, timeout=0.05, poll_interval=interval)
        with pytest.raises(InvalidArgument):
            client.get_run("nonsense")
        with pytest.raises(NotFound):
            client.get_run(uuid4())


async def test_a_blocking_wait_ends_with_its_run(workshop: Workshop) -> None:
    async with workshop.worker(sums, failing):
        with Client.sync(workshop.dsn) as client:
            start = client.start_flow_sync
            run = await asyncio.to_thread(start, sums, [5], timeout=PATIENCE)
            assert run.output == {"total": 10}
            with pytest.raises(RunFailed):
                await asyncio.to_thread(start, failing, 1, timeout=PATIENCE, poll_interval=0.01)
