"""Machines: what their steps answer, and what they are told."""

from __future__ import annotations

import threading
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import (
    Await,
    Done,
    Machine,
    MachineContext,
    Next,
    Retry,
    RunFailed,
    Stop,
    step,
)
from stepwell.observe.events import TaskSucceeded

from .machine_hands import Counter, app_of, failure_of
from .workshop import Workshop


async def test_state_travels_from_step_to_step_and_done_is_the_result(workshop: Workshop) -> None:
    async with workshop.worker(app=app_of(Counter)) as serving:
        run = await workshop.client.start(Counter(upto=5))
        assert await run.result(10) == [0, 1, 2, 3, 4]
        said = [event.outcome for event in serving.events.of(TaskSucceeded)]
    assert said == ["next"] * 4 + ["done"]
    assert workshop.rows("select state, status from pgflow.runs") == [
        ({"upto": 5, "seen": [0, 1, 2, 3, 4]}, "completed")
    ]


class Places(Machine):
    threads: list[str] = field(default_factory=list[str])

    @step(initial=True)
    def first(self, ctx: MachineContext) -> Next:
        self.threads.append(threading.current_thread().name)
        return Next(self.second, delay=0.05)

    @step
    async def second(self, ctx: MachineContext) -> Done:
        self.threads.append(threading.current_thread().name)
        return Done({"threads": self.threads, "attempt": ctx.attempt})


async def test_steps_are_sync_or_async_and_next_may_wait(workshop: Workshop) -> None:
    async with workshop.worker(app=app_of(Places)):
        run = await workshop.client.start(Places())
        result = await run.result(10)
    assert result["threads"][0].startswith("stepwell-handler")
    assert result["threads"][1] == threading.current_thread().name
    assert result["attempt"] == 1


class Poller(Machine, max_attempts=2):
    asked: int = 0

    @step(initial=True)
    async def ask(self, ctx: MachineContext) -> Retry | Done:
        self.asked += 1
        return Retry(delay=0.02) if self.asked < 5 else Done([self.asked, ctx.attempt])


async def test_retry_keeps_the_state_and_may_go_on_past_max_attempts(workshop: Workshop) -> None:
    async with workshop.worker(app=app_of(Poller)):
        run = await workshop.client.start(Poller())
        assert await run.result(10) == [5, 5]
        assert await run.attempts() == []


class Quitter(Machine):
    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Stop:
        return Stop("nobody wants it")


async def test_stop_ends_the_run_with_its_reason(workshop: Workshop) -> None:
    failed = await failure_of(workshop, Quitter())
    assert (failed.step, failed.message) == ("begin", "nobody wants it")


class Waiter(Machine):
    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Await:
        return Await(["paid", "refused"], then=self.decide, timeout=30)

    @step
    async def decide(self, ctx: MachineContext) -> Done:
        [signal] = ctx.awaited
        assert abs((datetime.now(UTC) - signal.sent_at).total_seconds()) < 10
        inbox = [[s.name, s.payload] for s in await ctx.signals()]
        return Done({"name": signal.name, "payload": signal.payload, "inbox": inbox})


@pytest.mark.parametrize("payload", [None, False, 0, "text", [1, [2]], {"a": None}])
async def test_a_signal_of_any_json_wakes_who_awaits_it(workshop: Workshop, payload: Any) -> None:
    async with workshop.worker(app=app_of(Waiter)):
        run = await workshop.client.start(Waiter(), key="order:1")
        await workshop.client.signal("order:1", "gossip", "not awaited")
        await workshop.client.signal(run, "paid", payload)
        assert await run.result(10) == {
            "name": "paid",
            "payload": payload,
            "inbox": [["gossip", "not awaited"], ["paid", payload]],
        }


async def test_a_payload_that_python_cannot_read_fails_only_its_run(workshop: Workshop) -> None:
    class Reader(Machine, max_attempts=2, base_delay=0):
        @step(initial=True)
        async def begin(self, ctx: MachineContext) -> Await:
            return Await("paid", then=self.read)

        @step
        async def read(self, ctx: MachineContext) -> Done:
            return Done([signal.payload for signal in ctx.awaited])

        async def on_error(self, error: BaseException, ctx: MachineContext) -> Stop:
            return Stop("it is unreadable")

    async with workshop.worker(app=app_of(Reader)):
        run = await workshop.client.start(Reader(), key="a")
        workshop.rows(
            "select pgflow.send_signal(target_id => null, target_key => 'a', name => 'paid',"
            " payload => (repeat('[', 4000) || repeat(']', 4000))::jsonb, dedup_key => null)"
        )
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        again = await workshop.client.start(Reader(), key="b")
        await workshop.client.signal("b", "paid", "fine")
        assert await again.result(10) == ["fine"]
    assert failed.value.step == "read"
    assert "nested" in (failed.value.message or "") or "recursion" in (failed.value.message or "")


class Impatient(Machine):
    @step(initial=True)
    def begin(self, ctx: MachineContext) -> Await:
        return Await("never", then=self.after, timeout=0.05)

    @step
    def after(self, ctx: MachineContext) -> Done:
        return Done({"awaited": len(ctx.awaited), "inbox": len(ctx.wait(ctx.signals()))})


async def test_after_the_timeout_nothing_is_awaited(workshop: Workshop) -> None:
    async with workshop.worker(app=app_of(Impatient)):
        run = await workshop.client.start(Impatient())
        assert await run.result(10) == {"awaited": 0, "inbox": 0}


class Facts(Machine, version=3, max_attempts=4, timeout=7):
    @step(initial=True)
    async def tell(self, ctx: MachineContext) -> Done:
        left = (ctx.deadline - datetime.now(UTC)).total_seconds()
        assert 5 < left <= 7
        assert not ctx.cancelled
        with pytest.raises(RuntimeError, match="sync handlers"):
            ctx.wait(ctx.signals())
        with pytest.raises(ValueError, match="limit is 0"):
            await ctx.signals(limit=0)
        names = ("run_id", "key", "machine", "version", "step", "attempt", "max_attempts")
        return Done({name: getattr(ctx, name) for name in (*names, "crashes", "awaited")})


async def test_the_context_tells_the_facts(workshop: Workshop) -> None:
    async with workshop.worker(app=app_of(Facts)):
        run = await workshop.client.start(Facts(), key="k")
        assert await run.result(10) == {
            "run_id": str(run.id),
            "key": "k",
            "machine": "facts",
            "version": 3,
            "step": "tell",
            "attempt": 1,
            "max_attempts": 4,
            "crashes": 0,
            "awaited": [],
        }


async def test_two_versions_run_side_by_side(workshop: Workshop) -> None:
    class Old(Machine, name="rolling", version=1):
        @step(initial=True)
        async def begin(self, ctx: MachineContext) -> Done:
            return Done("old")

    class New(Machine, name="rolling", version=2):
        @step(initial=True)
        async def start(self, ctx: MachineContext) -> Done:
            return Done("new")

    async with workshop.worker(app=app_of(Old, New)):
        runs = [await workshop.client.start(machine) for machine in (Old(), New(), Old())]
        assert [await run.result(10) for run in runs] == ["old", "new", "old"]
