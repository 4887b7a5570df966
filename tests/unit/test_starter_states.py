"""The starter alone: phases, pauses, what it says, and that modules do not wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stepwell import Done, Flow, Machine, MachineContext, Stepwell, job, step
from stepwell.errors import DefinitionError, NotReady, StepwellError
from stepwell.observe.emit import subscribed
from stepwell.observe.events import (
    Event,
    StarterAttempt,
    StarterFailed,
    StarterReady,
    StarterRetryScheduled,
    StarterSuccess,
)
from stepwell.worker.modules import Backoff, ErrorClass, Module, Phase
from stepwell.worker.starter import Starter
from stepwell.worker.starting import modules_of

AT_ONCE = Backoff(base=0.001, longest=0.01, jitter=0.0)
NEVER = Backoff(base=3600.0, longest=3600.0, jitter=0.0)


class Counting(Machine):
    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Done:
        return Done()


class CountingAgain(Counting, name="counting", version=2): ...


class Phases:
    """Two phases of which each module does what a test says; the calls are noted."""

    def __init__(self, *names: str) -> None:
        self.calls: list[tuple[str, str]] = []
        self.does: dict[tuple[str, str], Callable[[], Any]] = {}
        self.phases = tuple(self._phase(name) for name in names or ("registry", "worker"))

    def _phase(self, name: str) -> Phase:
        async def run(module: Module) -> None:
            self.calls.append((module.name, name))
            answer = self.does.get((module.name, name), lambda: None)()
            if asyncio.iscoroutine(answer):
                await answer

        return Phase(name, run, verdict)


def verdict(error: Exception) -> ErrorClass | None:
    match error:
        case ConnectionError() | TimeoutError():
            return "transient"
        case StepwellError():
            return "permanent"
        case _:
            return None


def fails(error: Exception, times: int = 10**9) -> Callable[[], None]:
    left = [times]

    def fail() -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error

    return fail


def modules(*names: str) -> list[Module]:
    return [Module(name, "flow") for name in names]


@asynccontextmanager
async def running(starter: Starter) -> AsyncGenerator[list[Event]]:
    events: list[Event] = []
    with subscribed(events.append):
        task = asyncio.create_task(starter.run())
        try:
            yield events
        finally:
            task.cancel()
            await asyncio.wait({task})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_each_module_goes_through_all_phases_in_order() -> None:
    phases = Phases("registry", "worker", "notify")
    starter = Starter(modules("a", "b"), phases.phases)
    assert [s.status for s in starter.status().modules] == ["pending", "pending"]
    assert (starter.ready(), starter.healthy()) == (False, False)
    async with running(starter):
        await starter.await_ready(20)
    for name in "ab":
        assert [p for m, p in phases.calls if m == name] == ["registry", "worker", "notify"]
    status = starter.status()
    assert (status.ready, status.healthy) == (True, True)
    assert status.started_at and status.ready_at and status.started_at <= status.ready_at
    assert [(s.module, s.type, s.status, s.attempts, s.last_error) for s in status.modules] == [
        ("a", "flow", "succeeded", 0, None),
        ("b", "flow", "succeeded", 0, None),
    ]


async def test_a_transient_error_begins_all_phases_again_for_ever() -> None:
    phases = Phases()
    phases.does["a", "worker"] = fails(ConnectionError("no route"), times=12)
    starter = Starter(modules("a"), phases.phases, backoff=AT_ONCE)
    async with running(starter) as events:
        await starter.await_ready(20)
    assert phases.calls == [("a", "registry"), ("a", "worker")] * 13
    retries = [e for e in events if isinstance(e, StarterRetryScheduled)]
    assert [e.attempt for e in retries] == [*range(1, 13)]
    assert [round(e.delay, 4) for e in retries[:6]] == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]
    assert {(e.status, e.error_class, e.phase, e.reason) for e in retries} == {
        ("retrying", "transient", "worker", "no route")
    }


async def test_a_permanent_error_stops_at_once() -> None:
    phases = Phases()
    phases.does["a", "registry"] = fails(DefinitionError("it has no steps"))
    starter = Starter(modules("a"), phases.phases, backoff=AT_ONCE)
    async with running(starter) as events:
        await starter.await_ready(20)
        await asyncio.sleep(0.05)
    assert phases.calls == [("a", "registry")]
    state = starter.module_status("a")
    assert state and state.last_error
    assert (state.status, state.attempts) == ("failed_permanent", 0)
    assert (state.last_error.error_class, state.last_error.phase) == ("permanent", "registry")
    assert state.last_error.reason == "it has no steps"
    assert isinstance(starter.first_error(), DefinitionError)
    assert (starter.ready(), starter.healthy()) == (True, False)  # converged, and of no use
    assert [type(e) for e in events] == [StarterAttempt, StarterFailed, StarterReady]


async def test_one_that_is_up_is_enough_to_be_healthy() -> None:
    phases = Phases()
    phases.does["a", "registry"] = fails(DefinitionError("no"))
    phases.does["b", "worker"] = fails(ConnectionError("no"))
    starter = Starter(modules("a", "b", "c"), phases.phases, backoff=NEVER)
    async with running(starter):
        await until(lambda: starter.healthy() and status_of(starter, "b") == "retrying")
        assert not starter.ready()
        with pytest.raises(
            NotReady, match=r"not ready after 0.05 s: flow 'b' \(worker: no\)"
        ) as it:
            await starter.await_ready(0.05)
        assert isinstance(it.value, TimeoutError)
        assert len(it.value.waiting) == 1


async def test_a_slow_module_delays_no_other() -> None:
    phases = Phases()
    phases.does["slow", "registry"] = lambda: asyncio.sleep(3600)
    starter = Starter(modules("slow", "a", "b"), phases.phases)
    async with running(starter):
        await until(lambda: all(is_up(starter, name) for name in "ab"))
        assert not is_up(starter, "slow")


async def test_a_phase_that_hangs_is_a_failed_attempt() -> None:
    phases = Phases()
    hangs = iter([True, False])
    phases.does["a", "worker"] = lambda: asyncio.sleep(3600) if next(hangs) else None
    starter = Starter(modules("a"), phases.phases, backoff=AT_ONCE, patience=0.05)
    async with running(starter) as events:
        await starter.await_ready(20)
    [retry] = [e for e in events if isinstance(e, StarterRetryScheduled)]
    assert (retry.phase, retry.reason) == ("worker", "it took longer than 0.05 s")


async def test_an_error_that_is_nobodys_ends_the_starter() -> None:
    phases = Phases()
    phases.does["a", "worker"] = fails(ZeroDivisionError("a defect"))
    starter = Starter(modules("a", "b"), phases.phases)
    with pytest.raises(ExceptionGroup) as raised:
        await starter.run()
    assert raised.group_contains(ZeroDivisionError)


async def test_retry_now_ends_the_pause() -> None:
    phases = Phases()
    phases.does["a", "worker"] = fails(ConnectionError("no"), times=1)
    starter = Starter(modules("a"), phases.phases, backoff=NEVER)
    async with running(starter):
        await until(lambda: status_of(starter, "a") == "retrying")
        starter.retry_now("nobody")
        starter.retry_now("a")
        await starter.await_ready(20)


async def test_retry_now_works_on_what_is_up_and_on_what_was_given_up() -> None:
    phases = Phases()
    phases.does["bad", "registry"] = fails(DefinitionError("no"), times=1)
    starter = Starter(modules("good", "bad"), phases.phases, backoff=NEVER)
    async with running(starter) as events:
        await starter.await_ready(20)
        ready_at = starter.status().ready_at
        phases.does["good", "worker"] = fails(ConnectionError("gone"), times=1)
        starter.retry_now("good")
        await until(lambda: status_of(starter, "good") == "retrying")
        assert not starter.ready()
        starter.retry_now("bad")
        await until(lambda: is_up(starter, "bad"))
        assert starter.first_error() is None
        starter.retry_waiting()
        await starter.await_ready(20)
        assert starter.status().ready_at == ready_at
    assert len([e for e in events if isinstance(e, StarterReady)]) == 1
    attempts = [e.attempt for e in events if isinstance(e, StarterAttempt) and e.module == "good"]
    assert attempts == [1, 1, 2]


async def test_a_poke_during_an_attempt_is_an_attempt_after_it() -> None:
    gate = asyncio.Event()
    phases = Phases()
    phases.does["a", "worker"] = gate.wait
    starter = Starter(modules("a"), phases.phases)
    async with running(starter):
        await until(lambda: ("a", "worker") in phases.calls)
        starter.retry_now("a")
        gate.set()
        await until(lambda: phases.calls.count(("a", "worker")) == 2)


async def test_nothing_to_bring_up_is_ready_and_healthy() -> None:
    starter = Starter([], Phases().phases)
    assert (starter.ready(), starter.healthy()) == (True, True)
    async with running(starter) as events:
        await starter.await_ready(20)
    [ready] = events
    assert isinstance(ready, StarterReady)
    assert ready.modules == 0


async def test_modules_may_come_change_and_go() -> None:
    phases = Phases()
    phases.does["c", "worker"] = fails(ConnectionError("no"))
    starter = Starter(modules("a"), phases.phases, backoff=AT_ONCE)
    async with running(starter):
        await starter.await_ready(20)
        assert not starter.keep_to(modules("a"))
        assert starter.keep_to([*modules("a", "c"), Module("b", "flow")])
        assert not starter.ready()
        await until(lambda: is_up(starter, "b"))
        assert starter.keep_to([*modules("a"), Module("b", "job")])
        await starter.await_ready(20)  # the one that never came up is gone
        assert starter.module_status("c") is None
        await until(lambda: phases.calls.count(("b", "worker")) == 2)
        assert phases.calls.count(("a", "worker")) == 1
        changed = starter.module_status("b")
        assert changed and changed.type == "job"
        tries = phases.calls.count(("c", "worker"))
        await asyncio.sleep(0.05)
        assert phases.calls.count(("c", "worker")) <= tries + 1


async def test_await_ready_without_a_limit_waits() -> None:
    phases = Phases()
    phases.does["a", "worker"] = fails(ConnectionError("no"), times=20)
    starter = Starter(modules("a"), phases.phases, backoff=AT_ONCE)
    async with running(starter):
        await asyncio.wait_for(starter.await_ready(None), 20)


async def test_events_carry_what_a_metric_wants() -> None:
    phases = Phases()
    phases.does["a", "worker"] = fails(ConnectionError("no"), times=1)
    starter = Starter(modules("a"), phases.phases, backoff=AT_ONCE)
    async with running(starter) as events:
        await starter.await_ready(20)
    kinds = [StarterAttempt, StarterRetryScheduled, StarterAttempt, StarterSuccess, StarterReady]
    assert [type(e) for e in events] == kinds
    first, _, second, success, ready = events
    assert isinstance(first, StarterAttempt)
    assert isinstance(second, StarterAttempt)
    assert isinstance(success, StarterSuccess)
    assert isinstance(ready, StarterReady)
    assert (first.module, first.module_type, first.status) == ("a", "flow", "pending")
    assert (first.attempt, first.error_class, first.phase, first.reason) == (1, None, None, None)
    assert (second.attempt, second.status, second.attempts) == (2, "retrying", 1)
    assert (success.status, success.attempts, success.reason) == ("succeeded", 1, None)
    assert success.seconds >= 0 and ready.seconds >= 0
    assert first.at <= second.at <= ready.at


def test_pauses_double_up_to_the_longest_and_are_off_by_a_part() -> None:
    exact = Backoff(jitter=0.0)
    assert [exact.after(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert exact.after(10**6) == 30
    some = [Backoff().after(3) for _ in range(500)]
    assert 3.2 <= min(some) < 3.6 and 4.4 < max(some) <= 4.8
    assert min(Backoff(jitter=5.0).after(1) for _ in range(100)) == 0


def test_the_modules_of_an_app_are_its_slugs() -> None:
    flow = Flow[Any, Any]("orders")

    @job
    async def mail(n: int) -> None: ...

    found = modules_of(Stepwell(flows=[flow], machines=[Counting, CountingAgain], jobs=[mail]))
    assert [(m.name, m.type, len(m.definitions)) for m in found] == [
        ("orders", "flow", 1),
        ("counting", "machine", 2),
        ("mail", "job", 1),
    ]
    starter = Starter(found, ())
    assert [
        state and state.module
        for state in map(starter.module_status, (flow, mail, CountingAgain, "orders", "nobody"))
    ] == ["orders", "mail", "counting", "orders", None]


def status_of(starter: Starter, name: str) -> str:
    state = starter.module_status(name)
    return state.status if state else "missing"


def is_up(starter: Starter, name: str) -> bool:
    return status_of(starter, name) == "succeeded"
