"""What goes into a handler, what comes out, and how it may end."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from stepwell import Context, Flow, PermanentError, RunFailed
from stepwell.observe.events import TaskStarted

from .timing import undisturbed
from .workshop import Workshop


@dataclass
class Order:
    number: int
    placed: datetime


class Parcel(msgspec.Struct):
    order: Order
    items: list[str] = []


class Awkward(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Abort(BaseException):
    """Not an Exception, as some libraries have them."""


@dataclass
class Brittle:
    number: int

    def __post_init__(self) -> None:
        raise RuntimeError(f"cannot be {self.number}")


async def test_values_keep_their_types_through_sync_and_async_steps(workshop: Workshop) -> None:
    flow = Flow[Order, dict[str, Parcel]]("typed")
    seen: list[Any] = []

    @flow.step
    async def pack(flow_input: Order) -> Parcel:
        seen.append(flow_input)
        return Parcel(flow_input, ["tea", "für dich"])

    @flow.step
    def label(pack: Parcel) -> datetime:
        seen.append(pack)
        return pack.order.placed + timedelta(days=1)

    @flow.step
    async def ship(pack: Parcel, label: datetime, flow_input: Order) -> Parcel:
        seen.extend((label, flow_input))
        return Parcel(Order(pack.order.number + 1, label), pack.items)

    order = Order(7, datetime(2024, 2, 28, 12, 30, tzinfo=UTC))
    async with workshop.worker(flow):
        run = await workshop.client.start(flow, order)
        out = await run.result(10)
    tomorrow = order.placed + timedelta(days=1)
    assert seen == [order, Parcel(order, ["tea", "für dich"]), tomorrow, order]
    assert out == {"ship": Parcel(Order(8, tomorrow), ["tea", "für dich"])}


async def test_a_value_comes_out_as_it_went_in(workshop: Workshop) -> None:
    flow = Flow[Any, Any]("plain")
    values: list[Any] = [None, False, 0, "", [], {}, -0.5, 2**63, "\u2028 😀"]

    @flow.step
    async def first(flow_input: Any) -> Any:
        return flow_input

    @flow.step
    def second(first: Any) -> Any:
        return first

    async with workshop.worker(flow):
        runs = await workshop.client.start_many(flow, values)
        assert [await run.result(10) for run in runs] == [{"second": value} for value in values]


async def test_the_context_tells_the_facts_of_the_attempt(workshop: Workshop) -> None:
    flow = Flow("facts", base_delay=0, timeout=7)
    seen: list[dict[str, Any]] = []

    @flow.step
    def items() -> list[int]:
        return [10, 11]

    @flow.map(over=items, max_attempts=2)
    async def each(item: int, ctx: Context) -> None:
        names = ("run_id", "flow", "step", "task_index", "attempt", "max_attempts", "last_attempt")
        seen.append({name: getattr(ctx, name) for name in names} | {"in": ctx.flow_input})
        assert 5 < (ctx.deadline - datetime.now(UTC)).total_seconds() <= 7
        assert not ctx.cancelled
        if item == 11 and ctx.attempt == 1:
            raise ValueError("again")

    async with workshop.worker(flow) as serving:
        run = await workshop.client.start(flow, {"k": 1})
        await run.result(10)
        started = serving.events.of(TaskStarted)
    common = {"run_id": run.id, "flow": "facts", "step": "each", "max_attempts": 2, "in": {"k": 1}}
    seen.sort(key=lambda facts: (facts["task_index"], facts["attempt"]))
    assert seen == [
        common | {"task_index": 0, "attempt": 1, "last_attempt": False},
        common | {"task_index": 1, "attempt": 1, "last_attempt": False},
        common | {"task_index": 1, "attempt": 2, "last_attempt": True},
    ]
    assert len(started) == 4


async def test_each_failed_attempt_is_recorded_with_its_traceback(workshop: Workshop) -> None:
    flow = Flow("stubborn", base_delay=0, max_attempts=3)

    def deep(attempt: int) -> None:
        raise LookupError(f"attempt {attempt}: nothing \0 there")

    @flow.step
    async def search(ctx: Context) -> None:
        deep(ctx.attempt)

    async with workshop.worker(flow):
        run = await workshop.client.start(flow, None)
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        attempts = await run.attempts()
        info = await run.info()
        workers = workshop.rows("select worker_id from pgflow.workers")
    assert (failed.value.step, failed.value.error_type) == ("search", "LookupError")
    assert [a.attempt for a in attempts] == [1, 2, 3]
    assert attempts[0].error_message == "attempt 1: nothing \ufffd there"
    for attempt in attempts:
        trace = attempt.traceback or ""
        frames = [line for line in trace.splitlines() if line.startswith("  File ")]
        assert [frame.rsplit(" ", 1)[1] for frame in frames] == ["search", "deep"]
        assert trace.splitlines()[0] == "Traceback (most recent call last):"
        assert "stepwell/worker" not in trace and "raise LookupError" in trace
    assert [(a.worker_id,) for a in attempts] == workers * 3
    assert info.failed_step == "search"


@pytest.mark.parametrize("sync", [False, True])
async def test_a_permanent_error_ends_the_task_at_once(workshop: Workshop, sync: bool) -> None:
    flow = Flow("final")

    def body() -> None:
        raise PermanentError("no such customer")

    async def body_in_the_loop() -> None:
        body()

    flow.step(slug="ask")(body if sync else body_in_the_loop)
    async with workshop.worker(flow):
        run = await workshop.client.start(flow, None)
        with pytest.raises(RunFailed, match="no such customer"):
            await run.result(10)
        assert [(a.attempt, a.error_type) for a in await run.attempts()] == [(1, "PermanentError")]


async def cancelled() -> None:
    raise asyncio.CancelledError


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def raising(error: BaseException) -> Any:
    def body() -> None:
        raise error

    return body


def raising_async(error: BaseException) -> Any:
    async def body() -> None:
        raise error

    return body


ENDINGS: list[tuple[Any, str, str]] = [
    (cancelled, "CancelledError", "cancellation of its own"),
    (cancels_itself, "CancelledError", "cancellation of its own"),
    (raising(asyncio.CancelledError()), "CancelledError", "cancellation of its own"),
    (raising(SystemExit(3)), "SystemExit", "3"),
    (raising_async(SystemExit(3)), "SystemExit", "3"),
    (raising(StopIteration("done")), "RuntimeError", "StopIteration"),
    (raising_async(StopIteration("done")), "RuntimeError", "StopIteration"),
    (raising(Awkward()), "Awkward", "could not be read"),
    (raising_async(Awkward()), "Awkward", "could not be read"),
    (raising(Abort("by hand")), "Abort", "by hand"),
    (raising_async(Abort("by hand")), "Abort", "by hand"),
    (raising(KeyboardInterrupt()), "KeyboardInterrupt", ""),
    (raising_async(GeneratorExit()), "GeneratorExit", ""),
    (raising(TimeoutError("upstream")), "TimeoutError", "upstream"),
    (raising_async(TimeoutError("upstream")), "TimeoutError", "upstream"),
    (raising(ValueError("\ud800")), "ValueError", "?"),
    (raising(ExceptionGroup("two", [ValueError("x"), KeyError("y")])), "ExceptionGroup", "two"),
]


async def test_whatever_a_handler_raises_is_a_failed_attempt(workshop: Workshop) -> None:
    flows = [Flow(f"odd_{number}", max_attempts=1) for number in range(len(ENDINGS))]
    for flow, (body, _, _) in zip(flows, ENDINGS, strict=True):
        flow.step(slug="odd")(body)
    sound = Flow("sound")

    @sound.step
    def fine() -> int:
        return 1

    async with workshop.worker(*flows, sound):
        for flow, (_, error_type, says) in zip(flows, ENDINGS, strict=True):
            run = await workshop.client.start(flow, None)
            with pytest.raises(RunFailed):
                await run.result(10)
            [attempt] = await run.attempts()
            assert attempt.error_type == error_type
            assert says in attempt.error_message
        assert await (await workshop.client.start(sound, None)).result(10) == {"fine": 1}


async def test_an_input_that_cannot_be_read_fails_its_step_alone(workshop: Workshop) -> None:
    flow = Flow[Any, Any]("brittle", max_attempts=2, base_delay=0)

    @flow.step
    def give() -> Any:
        return {"number": 3}

    @flow.step(if_exhausted="skip")
    def take(give: Brittle) -> None: ...

    @flow.step(if_exhausted="skip")
    def count(give: list[int]) -> None: ...

    @flow.step
    def go_on(give: Any) -> str:
        return "fine"

    async with workshop.worker(flow):
        run = await workshop.client.start(flow, None)
        assert await run.result(10) == {"go_on": "fine"}
        attempts = await run.attempts()
    by_step = {a.step: a for a in attempts}
    assert sorted(a.step for a in attempts) == ["count", "take", "take"]
    assert by_step["take"].error_type == "RuntimeError"
    assert by_step["take"].error_message == "cannot be 3"
    assert by_step["count"].error_type == "PayloadError"
    assert "step 'count', parameter 'give'" in by_step["count"].error_message


async def test_a_timeout_cancels_an_async_body(workshop: Workshop) -> None:
    flow = Flow("slow", max_attempts=1, timeout=1)
    ended: list[str] = []

    @flow.step
    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("cleaned up")

    async with workshop.worker(flow):

        async def took() -> float:
            ended.clear()
            run = await workshop.client.start(flow, None)
            began = time.monotonic()
            with pytest.raises(RunFailed, match="ran longer than its timeout of 1 s"):
                await run.result(15)
            seconds = time.monotonic() - began
            assert [a.error_type for a in await run.attempts()] == ["TimedOut"]
            assert ended == ["cleaned up"]
            return seconds

        assert 0.9 < await undisturbed(workshop.dsn, 2, took) < 2


async def test_an_async_body_that_does_not_let_go_in_time_is_too_late(workshop: Workshop) -> None:
    flow = Flow[str, Any]("stubborn", max_attempts=1, timeout=1)

    @flow.step
    async def hold_on(flow_input: str) -> str:
        if flow_input == "swallows":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        elif flow_input == "blocks":
            time.sleep(1.2)  # noqa: ASYNC251
        return "done"

    async with workshop.worker(flow):
        for how in ("swallows", "blocks"):
            run = await workshop.client.start(flow, how)
            with pytest.raises(RunFailed, match="ran longer than its timeout of 1 s"):
                await run.result(10)
            assert [a.error_type for a in await run.attempts()] == ["TimedOut"]
        run = await workshop.client.start(flow, "neither")
        assert await run.result(10) == {"hold_on": "done"}


async def test_a_sync_body_keeps_its_slot_until_its_thread_ends(workshop: Workshop) -> None:
    flow = Flow("slow", max_attempts=1, timeout=1)
    let_go = threading.Event()
    told: list[bool] = []
    other = Flow("other")

    @flow.step
    def block(ctx: Context) -> None:
        let_go.wait(20)
        told.append(ctx.cancelled)

    @other.step
    def quick() -> bool:
        return let_go.is_set()

    async with workshop.worker(flow, other, concurrency=1):
        run = await workshop.client.start(flow, None)
        with pytest.raises(RunFailed, match="TimedOut"):
            await run.result(10)
        waiting = await workshop.client.start(other, None)
        await asyncio.sleep(0.3)
        assert (await waiting.info()).status == "started"
        assert workshop.rows("select 1 from pgflow.step_tasks where stage = 'running'") == []
        let_go.set()
        assert await waiting.result(10) == {"quick": True}
    assert told == [True]


async def test_a_sync_body_given_up_before_a_thread_was_free_never_runs(workshop: Workshop) -> None:
    flow = Flow[list[int], Any]("queue_up")
    let_go = threading.Event()
    ran: list[int] = []

    @flow.map
    def block(element: int) -> None:
        ran.append(element)
        let_go.wait(20)

    async with workshop.worker(flow, threads=1, concurrency=2, grace=0.1) as serving:
        run = await workshop.client.start(flow, [0, 1])
        await serving.events.first(TaskStarted, 2)
        serving.stop()
        await serving.stopped(5)
    let_go.set()
    async with workshop.worker(flow, threads=1, concurrency=2):
        await run.result(10)
    assert sorted(ran.count(element) for element in (0, 1)) == [1, 2]  # whichever was first


async def test_the_wait_for_a_thread_is_not_a_part_of_the_timeout(workshop: Workshop) -> None:
    flow = Flow[list[int], Any]("few_threads", max_attempts=1)

    @flow.map(timeout=20)
    def work(element: int, ctx: Context) -> float:
        left = (ctx.deadline - datetime.now(UTC)).total_seconds()
        time.sleep(0.5)
        return left

    async with workshop.worker(flow, threads=2, concurrency=20):
        run = await workshop.client.start(flow, list(range(12)))
        left = (await run.result(15))["work"]
    assert len(left) == 12
    assert all(18.5 < seconds <= 20 for seconds in left)


async def test_the_place_of_a_given_up_thread_is_free_once_it_ends(workshop: Workshop) -> None:
    flow = Flow[list[int], Any]("one_thread", max_attempts=1, base_delay=0)
    ran: list[int] = []

    @flow.map(timeout=1, if_exhausted="skip")
    def work(element: int) -> int:
        ran.append(element)
        time.sleep(1.5 if element == 0 else 0)
        return element

    async with workshop.worker(flow, threads=1, concurrency=1):
        first = await workshop.client.start(flow, [0])
        await first.wait(10)
        again = await workshop.client.start(flow, [1])
        assert await again.result(10) == {"work": [1]}
    assert ran == [0, 1]
