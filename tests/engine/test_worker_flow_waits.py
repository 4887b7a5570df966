"""Steps of flows that wait: for time, for a signal, for runs that they spawned."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import (
    Cancel,
    Context,
    Flow,
    RunFailed,
    Snooze,
    Spawn,
    Stepwell,
    job,
)
from stepwell.observe.events import TaskStarted

from .timing import undisturbed
from .workshop import Workshop


async def test_a_sleep_step_lets_time_pass(workshop: Workshop) -> None:
    flow = Flow[int, Any]("rest")

    @flow.step
    def begin(flow_input: int) -> int:
        return flow_input

    nap = flow.sleep("nap", 1, after=begin)

    @flow.step(nap)
    def end(begin: int) -> int:
        return begin + 1

    async def took() -> float:
        run = await workshop.client.start(flow, 1)
        assert await run.result(15) == {"end": 2}
        [(seconds, output)] = workshop.rows(
            "select extract(epoch from started_at - queued_at)::float8, output"
            " from pgflow.step_tasks where step_slug = 'nap' and run_id = %s",
            run.id,
        )
        assert output is None
        return seconds

    async with workshop.worker(flow):
        assert 0.9 <= await undisturbed(workshop.dsn, 2, took) < 2


def approval(timeout: float | None = None, if_exhausted: Any = "fail") -> Flow[str, Any]:
    flow = Flow[str, Any]("approval")

    @flow.step
    def ask(flow_input: str) -> str:
        return flow_input

    said = flow.signal(
        "approved", slug="answer", after=ask, timeout=timeout, if_exhausted=if_exhausted
    )

    @flow.step(said)
    def act(answer: dict[str, Any] | None = None) -> Any:
        return answer

    return flow


@pytest.mark.parametrize("early", [True, False])
async def test_a_signal_step_has_the_payload_as_its_output(workshop: Workshop, early: bool) -> None:
    flow = approval()
    run = await workshop.client.start(flow, "?", key="a")
    if early:
        await workshop.client.signal("a", "approved", {"by": "ada"})
    async with workshop.worker(flow):
        if not early:
            await workshop.until(
                "select 1 from pgflow.step_tasks where step_slug = 'answer' and stage = 'parked'"
            )
            await workshop.client.signal("a", "approved", {"by": "ada"})
        assert await run.result(10) == {"act": {"by": "ada"}}


async def test_a_signal_that_does_not_come_in_time_fails_the_step(workshop: Workshop) -> None:
    flow = approval(timeout=0.1)
    async with workshop.worker(flow):
        run = await workshop.client.start(flow, "?")
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
    assert (failed.value.step, failed.value.error_type) == ("answer", "SignalTimedOut")
    assert "'approved' did not come" in (failed.value.message or "")


async def test_what_follows_a_signal_that_did_not_come_may_go_on(workshop: Workshop) -> None:
    flow = approval(timeout=0.1, if_exhausted="skip")
    async with workshop.worker(flow):
        run = await workshop.client.start(flow, "?")
        assert await run.result(10) == {"act": None}


DEEP = "repeat('[', 4000) || repeat(']', 4000)"


async def test_a_payload_that_python_cannot_read_fails_only_the_step(workshop: Workshop) -> None:
    flow = approval()
    async with workshop.worker(flow):
        run = await workshop.client.start(flow, "?", key="a")
        workshop.rows(
            "select pgflow.send_signal(target_id => null, target_key => 'a', name => 'approved',"
            f" payload => ({DEEP})::jsonb, dedup_key => null)"
        )
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        again = await workshop.client.start(flow, "?", key="b")
        await workshop.client.signal("b", "approved", {})
        assert await again.result(10) == {"act": {}}
    assert (failed.value.step, failed.value.error_type) == ("answer", "RecursionError")


@job(max_attempts=1)
async def square(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    await asyncio.sleep(0.01 * (5 - number))
    return number * number


def squares(**choices: Any) -> Flow[list[int], Any]:
    flow = Flow[list[int], Any]("squares")

    @flow.step
    def each(flow_input: list[int]) -> Spawn:
        return Spawn([square.call(number) for number in flow_input], **choices)

    @flow.step
    def total(each: list[int | None]) -> int:
        return sum(number or 0 for number in each)

    return flow


def served(flow: Flow[Any, Any]) -> Stepwell:
    return Stepwell(flows=[flow], jobs=[square])


async def test_a_step_that_spawns_has_the_results_in_order(workshop: Workshop) -> None:
    flow = squares()
    async with workshop.worker(app=served(flow)) as serving:
        run = await workshop.client.start(flow, [1, 2, 3, 4])
        assert await run.result(10) == {"total": 30}
        started = [event.step for event in serving.events.of(TaskStarted)]
    assert workshop.rows("select output from pgflow.step_tasks where step_slug = 'each'") == [
        ([1, 4, 9, 16],)
    ]
    assert started.count("each") == 2  # once to spawn, once to join


async def test_a_step_may_spawn_nothing(workshop: Workshop) -> None:
    flow = squares()
    async with workshop.worker(app=served(flow)):
        run = await workshop.client.start(flow, list[int]())
        assert await run.result(10) == {"total": 0}


async def test_a_child_that_failed_has_no_result(workshop: Workshop) -> None:
    flow = squares()
    async with workshop.worker(app=served(flow)):
        run = await workshop.client.start(flow, [1, -2, 3])
        assert await run.result(10) == {"total": 10}


async def test_a_child_that_failed_fails_the_step_if_asked_to(workshop: Workshop) -> None:
    flow = squares(on_failure="fail")
    async with workshop.worker(app=served(flow)):
        run = await workshop.client.start(flow, [1, -2, 3])
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
    assert (failed.value.step, failed.value.error_type) == ("each", "ChildFailed")
    assert "-2 is negative" in (failed.value.message or "")


async def test_each_element_of_a_map_may_spawn(workshop: Workshop) -> None:
    flow = Flow[list[int], Any]("nested")

    @flow.map
    def each(number: int) -> Spawn:
        return Spawn([square.call(number), square.call(number + 1)])

    async with workshop.worker(app=served(flow)):
        run = await workshop.client.start(flow, [1, 2])
        assert await run.result(10) == {"each": [[1, 4], [4, 9]]}


async def test_a_spawn_of_a_flow_has_no_then(workshop: Workshop) -> None:
    from .test_worker_machines import Counter  # noqa: PLC0415

    flow = Flow("muddled", max_attempts=1)

    @flow.step
    def each() -> Spawn:
        return Spawn([square.call(1)], then=Counter.count)

    async with workshop.worker(app=served(flow)):
        run = await workshop.client.start(flow, None)
        with pytest.raises(RunFailed, match="has no `then`"):
            await run.result(10)


async def test_steps_of_flows_snooze_and_cancel_too(workshop: Workshop) -> None:
    flow = Flow[str, Any]("whims", max_attempts=1)
    seen: list[int] = []

    @flow.step
    def act(flow_input: str, ctx: Context) -> Any:
        seen.append(ctx.attempt)
        if flow_input == "cancel":
            return Cancel("not today")
        return Snooze(0.02) if len(seen) < 3 else len(seen)

    async with workshop.worker(flow):
        run = await workshop.client.start(flow, "snooze")
        assert await run.result(10) == {"act": 3}
        assert seen == [1, 1, 1]
        run = await workshop.client.start(flow, "cancel")
        with pytest.raises(RunFailed, match="not today"):
            await run.result(10)
