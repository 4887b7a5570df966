"""What follows a failed attempt, by what failed it: for each kind the code's word is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from stepwell import (
    Backoff,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    Retry,
    RetryAfter,
    RetryPolicy,
    RunFailed,
    Stepwell,
    job,
    queue_worker,
    step,
)
from stepwell.observe.events import MessageArchived, MessageFailed, QueueOpened, TaskFailed

from .workshop import Workshop

PATIENCE = 30.0
NEVER = timedelta(days=7)  # what the database would wait, were it asked


class Busy(Exception):
    pass


class Away(Exception):
    retry_after = 0.01


calls = Flow[str, Any]("calls", base_delay=NEVER, no_retry=(KeyError, TimeoutError))


@calls.step(backoff={Busy: Backoff.fixed(0.01), OSError: Backoff.linear(0.01)})
def call(flow_input: str, ctx: Context) -> int:
    errors: dict[str, Exception] = {
        "busy": Busy("so many"),
        "own": RetryAfter(0.01),
        "theirs": Away(),
        "base": ConnectionError("away"),
        "final": KeyError("gone"),
    }
    if ctx.attempt == 1:
        raise errors[flow_input]
    return ctx.attempt


@job(timeout=1, no_retry=TimeoutError)
async def hangs(ctx: Context) -> None:
    while True:
        await asyncio.sleep(1)


class Careful(Machine, base_delay=0, jitter=0, backoff={Busy: Backoff.fixed(NEVER)}):
    """What its on_error leaves to the policy goes by the error."""

    @step(initial=True)
    def work(self, ctx: MachineContext) -> Done:
        raise Busy("again")

    def on_error(self, error: BaseException, ctx: MachineContext) -> Retry:
        return Retry()


@queue_worker("tasks", retry=RetryPolicy("fixed", base_delay=600), no_retry=KeyError)
def handle(what: str) -> None:
    if what == "final":
        raise KeyError(what)
    if not seen.count(what):
        seen.append(what)
        raise RetryAfter(0.5)


seen: list[str] = []


async def test_the_pause_is_what_the_error_says(workshop: Workshop) -> None:
    client = workshop.client
    app = Stepwell(flows=[calls], machines=[Careful], jobs=[hangs], queues=[handle])
    async with workshop.worker(app=app, poll=0.1) as serving:
        runs = {what: await client.start(calls, what) for what in ("busy", "own", "theirs", "base")}
        final = await client.start(calls, "final")
        late = await client.enqueue(hangs.call())
        careful = await client.start(Careful())
        for what, run in runs.items():
            assert await run.result(PATIENCE) == {"call": 2}, what
        for run in (final, late):
            with pytest.raises(RunFailed):
                await run.result(PATIENCE)
            assert len(await run.attempts()) == 1
        told = [event.error_type for event in serving.events.of(TaskFailed) if not event.will_retry]
        assert sorted(told) == ["KeyError", "TimedOut"]

        [(delay,)] = await workshop.until(
            "select extract(epoch from ready_at - pgflow.now()) from pgflow.step_tasks"
            " where run_id = %s and stage = 'delayed'",
            careful.id,
        )
        assert NEVER.total_seconds() - 3600 < delay <= NEVER.total_seconds()

        await serving.events.first(QueueOpened)
        await client.send_batch("tasks", ["later", "final"])
        await serving.events.first(MessageFailed, 2)
        await serving.events.first(MessageArchived)
        pauses = {(e.error_type, e.retry_in) for e in serving.events.of(MessageFailed)}
        assert pauses == {("RetryAfter", 1), ("KeyError", None)}
    await client.cancel(careful)
