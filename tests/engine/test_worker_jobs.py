"""Jobs: arguments, results, and the ways in which they end."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import (
    Cancel,
    Context,
    Done,
    Machine,
    MachineContext,
    RunCancelled,
    RunFailed,
    Snooze,
    Spawn,
    Stepwell,
    job,
    step,
)
from stepwell.observe.events import OutcomeDropped, TaskStarted, TaskSucceeded

from .workshop import Workshop


@dataclass
class Order:
    number: int
    placed: datetime


@job
async def ship(order: Order, to: str = "home", *, urgent: bool = False) -> dict[str, Any]:
    assert isinstance(order, Order)
    return {"order": order, "to": to, "urgent": urgent}


@job
def pack(order: Order) -> str:
    return f"{order.number} in {threading.current_thread().name}"


async def test_arguments_keep_their_types_and_the_result_comes_back(workshop: Workshop) -> None:
    order = Order(7, datetime(2024, 2, 28, tzinfo=UTC))
    async with workshop.worker(app=Stepwell(jobs=[ship, pack])):
        sent = await workshop.client.enqueue(ship.call(order, urgent=True))
        packed = await workshop.client.enqueue(pack.call(order=order))
        shipped = await sent.result(10)
        assert (await packed.result(10)).startswith("7 in stepwell-handler")
    placed = {"number": 7, "placed": "2024-02-28T00:00:00Z"}
    assert shipped == {"order": placed, "to": "home", "urgent": True}


@job(max_attempts=5)
async def facts(ctx: Context, number: int) -> dict[str, Any]:
    return {
        "flow": ctx.flow,
        "step": ctx.step,
        "attempt": ctx.attempt,
        "max_attempts": ctx.max_attempts,
        "run": ctx.run_id,
        "number": number,
    }


async def test_a_job_may_take_the_context(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[facts])):
        run = await workshop.client.enqueue(facts.call(number=3))
        assert await run.result(10) == {
            "flow": "facts",
            "step": "perform",
            "attempt": 1,
            "max_attempts": 5,
            "run": str(run.id),
            "number": 3,
        }


@job(max_attempts=3, base_delay=0)
async def flaky(ctx: Context, fails: int) -> int:
    if ctx.attempt <= fails:
        raise OSError(f"attempt {ctx.attempt}")
    return ctx.attempt


async def test_a_failed_attempt_is_tried_again_up_to_the_last(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[flaky])):
        good = await workshop.client.enqueue(flaky.call(fails=2))
        bad = await workshop.client.enqueue(flaky.call(fails=3))
        assert await good.result(10) == 3
        with pytest.raises(RunFailed, match="attempt 3"):
            await bad.result(10)
        assert [a.error_message for a in await bad.attempts()] == [
            f"attempt {n}" for n in (1, 2, 3)
        ]


@job(no_retry=(ValueError,))
def strict(text: str) -> int:
    return int(text)


async def test_an_error_that_no_retry_can_help_is_not_tried_again(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[strict])):
        run = await workshop.client.enqueue(strict.call("seven"))
        with pytest.raises(RunFailed, match="invalid literal"):
            await run.result(10)
        assert [a.attempt for a in await run.attempts()] == [1]


snoozed: dict[str, list[int]] = {}


@job(max_attempts=1)
async def sleepy(ctx: Context, how: str) -> int | Snooze:
    seen = snoozed.setdefault(how, [])
    seen.append(ctx.attempt)
    if len(seen) < 4 and how == "raised":
        raise Snooze(0.02)
    return Snooze(0.02) if len(seen) < 4 else len(seen)


@pytest.mark.parametrize("how", ["returned", "raised"])
async def test_a_snooze_is_no_attempt(workshop: Workshop, how: str) -> None:
    snoozed.clear()
    async with workshop.worker(app=Stepwell(jobs=[sleepy])) as serving:
        run = await workshop.client.enqueue(sleepy.call(how))
        assert await run.result(10) == 4
        assert await run.attempts() == []
        said = [event.outcome for event in serving.events.of(TaskSucceeded)]
    assert snoozed[how] == [1, 1, 1, 1]
    assert said == ["snooze"] * 3 + ["completed"]


@job(no_retry=(Exception,))
def refuses(how: str) -> int | Cancel:
    if how == "raised":
        raise Cancel("the customer left")
    return Cancel("the customer left")


@pytest.mark.parametrize("how", ["returned", "raised"])
async def test_a_cancel_ends_the_run_as_cancelled(workshop: Workshop, how: str) -> None:
    async with workshop.worker(app=Stepwell(jobs=[refuses])):
        run = await workshop.client.enqueue(refuses.call(how))
        with pytest.raises(RunCancelled, match="the customer left"):
            await run.result(10)


stopped = asyncio.Event()


@job(timeout=1, max_attempts=1)
async def endless() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        stopped.set()


async def test_a_timeout_really_stops_an_async_body(workshop: Workshop) -> None:
    stopped.clear()
    async with workshop.worker(app=Stepwell(jobs=[endless])):
        run = await workshop.client.enqueue(endless.call())
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        assert stopped.is_set()
    assert failed.value.error_type == "TimedOut"


@job(max_attempts=3, base_delay=60, backoff=lambda attempt: 0.01 * attempt)
async def backs_off() -> None:
    raise OSError("away")


async def test_backoff_may_be_a_function(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[backs_off])):
        run = await workshop.client.enqueue(backs_off.call())
        with pytest.raises(RunFailed, match="away"):
            await run.result(10)


@job(name="opaque", max_attempts=1)
async def returns(what: str) -> Any:
    return Spawn([ship.call(Order(1, datetime.now(UTC)))]) if what == "spawn" else object()


@pytest.mark.parametrize("what", ["object", "spawn"])
async def test_a_result_that_is_no_json_is_a_failed_attempt(workshop: Workshop, what: str) -> None:
    async with workshop.worker(app=Stepwell(jobs=[returns])):
        run = await workshop.client.enqueue(returns.call(what))
        with pytest.raises(RunFailed, match="is not JSON"):
            await run.result(10)


async def test_arguments_that_do_not_fit_fail_at_once(workshop: Workshop) -> None:
    async with workshop.worker(app=Stepwell(jobs=[flaky])):
        run = await workshop.client.start("flaky", {"fails": "many"})
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        assert len(await run.attempts()) == 1
    assert (failed.value.error_type, "fails" in (failed.value.message or "")) == (
        "PayloadError",
        True,
    )


# --- slots and queues ---

spans: list[tuple[str, str]] = []


@job(concurrency="one", max_attempts=1)
async def clings(name: str) -> None:
    """An async body that does not let go at once."""
    spans.append((name, "begins"))
    try:
        await asyncio.sleep(30 if name == "first" else 0)
    finally:
        await asyncio.sleep(0.5)
        spans.append((name, "ends"))


@job(name="clings_on", concurrency="one", max_attempts=1)
def clings_in_a_thread(ctx: Context, name: str) -> None:
    spans.append((name, "begins"))
    while name == "first" and not ctx.cancelled:
        time.sleep(0.01)
    time.sleep(0.5)
    spans.append((name, "ends"))


@pytest.mark.parametrize("body", [clings, clings_in_a_thread])
async def test_a_slot_is_free_only_when_the_body_of_a_lost_claim_has_ended(
    workshop: Workshop, body: Any
) -> None:
    spans.clear()
    async with workshop.worker(app=Stepwell(jobs=[body]), lease=6.0) as serving:
        first = await workshop.client.enqueue(body.call(name="first"))
        await serving.events.first(TaskStarted)
        second = await workshop.client.enqueue(body.call(name="second"))
        await workshop.until("select 1 from pgflow.step_tasks where stage = 'blocked'")
        await first.cancel("no longer wanted")
        await second.result(10)
        assert not serving.events.of(OutcomeDropped)
    assert spans == [
        ("first", "begins"),
        ("first", "ends"),
        ("second", "begins"),
        ("second", "ends"),
    ]
    assert workshop.rows("select gate from pgflow.slots") == []


@job(queue="mail")
async def mail(to: str) -> str:
    return f"to {to}"


@job(queue="reports")
async def report(number: int) -> int:
    return number


async def test_a_worker_serves_only_the_queues_it_is_told(workshop: Workshop) -> None:
    app = Stepwell(jobs=[mail, report])
    async with workshop.worker(app=app, queues="reports, other") as one:
        letter = await workshop.client.enqueue(mail.call("ada"))
        figures = await workshop.client.enqueue(report.call(7))
        assert await figures.result(10) == 7  # one at a time: definitions come up in any order
        elsewhere = await workshop.client.enqueue(mail.call("bob"), queue="other")
        assert await elsewhere.result(10) == "to bob"
        async with workshop.worker(app=app, queues="mail") as two:
            assert await letter.result(10) == "to ada"
            assert [event.flow for event in two.events.of(TaskStarted)] == ["mail"]
        assert [event.flow for event in one.events.of(TaskStarted)] == ["report", "mail"]


async def test_the_worker_of_another_queue_hears_of_its_children(workshop: Workshop) -> None:
    class Sender(Machine, queue="reports"):
        @step(initial=True)
        async def begin(self, ctx: MachineContext) -> Spawn:
            return Spawn([mail.call("ada")], then=self.end)

        @step
        async def end(self, ctx: MachineContext) -> Done:
            return Done((await ctx.children())[0].output)

    app = Stepwell(jobs=[mail], machines=[Sender])
    async with (
        workshop.worker(app=app, queues="reports", poll=60.0),
        workshop.worker(app=app, queues="mail", poll=60.0),
    ):
        run = await workshop.client.start(Sender())
        assert await run.result(15) == "to ada"
