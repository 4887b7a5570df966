"""What goes wrong in machines, and what is kept of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import field
from typing import Any

import pytest

from stepwell import (
    Done,
    Machine,
    MachineContext,
    Next,
    PermanentError,
    RunFailed,
    Stop,
    step,
)
from stepwell.observe.events import ErrorHandled, TaskFailed

from .machine_hands import Counter, app_of, failure_of
from .workshop import Workshop


class Stubborn(Machine, max_attempts=3, base_delay=0, jitter=0):
    changed: int = 0

    @step(initial=True)
    async def work(self, ctx: MachineContext) -> Done:
        assert self.changed == 0
        self.changed = 1
        raise LookupError(f"attempt {ctx.attempt}")


async def test_without_on_error_the_policy_decides_and_changes_are_lost(
    workshop: Workshop,
) -> None:
    async with workshop.worker(app=app_of(Stubborn)):
        run = await workshop.client.start(Stubborn())
        with pytest.raises(RunFailed, match="attempt 3"):
            await run.result(10)
        attempts = await run.attempts()
    assert [(a.error_type, a.error_message) for a in attempts] == [
        ("LookupError", f"attempt {n}") for n in (1, 2, 3)
    ]
    assert "raise LookupError" in (attempts[0].traceback or "")
    assert "stepwell/worker" not in (attempts[0].traceback or "")


class Final(Machine):
    @step(initial=True)
    def work(self, ctx: MachineContext) -> Done:
        raise PermanentError("no such order")


async def test_a_permanent_error_ends_the_run_at_once(workshop: Workshop) -> None:
    failed = await failure_of(workshop, Final())
    assert (failed.error_type, failed.message) == ("PermanentError", "no such order")


class Resourceful(Machine, max_attempts=1, timeout=1):
    """Whatever goes wrong in `work`, `on_error` does what `how` says."""

    what: str
    how: str
    changed: bool = False
    errors: list[str] = field(default_factory=list[str])

    @step(initial=True)
    async def work(self, ctx: MachineContext) -> Done:
        self.changed = True
        if self.what == "hang":
            await asyncio.sleep(30)
        if self.what == "encode":
            self.errors = [object()]  # type: ignore[list-item]
            return Done()
        raise {"permanent": PermanentError, "odd": KeyboardInterrupt}.get(self.what, KeyError)("x")

    @step
    async def rest(self, ctx: MachineContext) -> Done:
        return Done({"errors": self.errors, "changed": self.changed, "inbox": len(ctx.awaited)})

    async def on_error(self, error: BaseException, ctx: MachineContext) -> Any:
        assert not ctx.cancelled
        self.errors.append(type(error).__name__)
        match self.how:
            case "next":
                return Next(self.rest)
            case "stop":
                return Stop("that was it")
            case "raise":
                raise RuntimeError("worse")
            case "nonsense":
                return 42
            case "unwritable":
                return Done({1, object()})
            case _:
                return None


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("raise", "KeyError"),
        ("permanent", "PermanentError"),
        ("hang", "TimeoutError"),
        ("encode", "PayloadError"),
    ],
)
async def test_on_error_may_go_on_with_the_state_from_before_the_step(
    workshop: Workshop, what: str, name: str
) -> None:
    async with workshop.worker(app=app_of(Resourceful)) as serving:
        run = await workshop.client.start(Resourceful(what=what, how="next"))
        assert await run.result(10) == {"errors": [name], "changed": False, "inbox": 0}
        handled = serving.events.of(ErrorHandled)
        attempts = await run.attempts()
    kept = "TimedOut" if what == "hang" else name
    assert [(event.error_type, event.outcome) for event in handled] == [(kept, "next")]
    assert [(a.step, a.attempt, a.error_type) for a in attempts] == [("work", 1, kept)]


async def test_a_stop_of_on_error_keeps_both_reasons(workshop: Workshop) -> None:
    failed = await failure_of(workshop, Resourceful(what="raise", how="stop"))
    assert failed.error_type == "KeyError"
    assert failed.message == "that was it (KeyError: 'x')"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raise", "RuntimeError: worse"),
        ("nonsense", "BadOutcome: it returned 42"),
        ("unwritable", "PayloadError"),
    ],
)
async def test_an_on_error_that_fails_too_leaves_both_reasons(
    workshop: Workshop, how: str, says: str
) -> None:
    failed = await failure_of(workshop, Resourceful(what="raise", how=how))
    assert failed.error_type == "KeyError"
    assert (failed.message or "").startswith("'x'; then on_error failed too: ")
    assert says in (failed.message or "")


async def test_an_on_error_that_says_nothing_leaves_it_to_the_policy(workshop: Workshop) -> None:
    failed = await failure_of(workshop, Resourceful(what="hang", how="nothing"))
    assert (failed.error_type, failed.step) == ("TimedOut", "work")


class Careless(Machine, max_attempts=2, base_delay=0):
    how: str

    @step(initial=True)
    async def work(self, ctx: MachineContext) -> Any:
        match self.how:
            case "foreign":
                return Next(Counter(upto=1).count)
            case "nothing":
                return None
            case _:
                return {"done": True}

    def on_error(self, error: BaseException, ctx: MachineContext) -> None:
        assert self.how == "foreign", "what is no outcome is no error"


@pytest.mark.parametrize(
    ("how", "kind", "says"),
    [
        ("nothing", "BadOutcome", "step 'work' returned None; it answers with Next"),
        ("dict", "BadOutcome", "step 'work' returned {'done': True}; it answers with Next"),
        ("foreign", "DefinitionError", "is no step of it"),
    ],
)
async def test_what_is_no_outcome_fails_for_good(
    workshop: Workshop, how: str, kind: str, says: str
) -> None:
    async with workshop.worker(app=app_of(Careless)):
        run = await workshop.client.start(Careless(how=how))
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        assert [a.error_type for a in await run.attempts()] == [kind]
    assert says in (failed.value.message or "")


async def test_an_undecodable_state_is_a_failed_attempt_with_a_reason(workshop: Workshop) -> None:
    class Typed(Machine, max_attempts=2, base_delay=0):
        number: int

        @step(initial=True)
        async def work(self, ctx: MachineContext) -> Done:
            return Done(self.number)

        async def on_error(self, error: BaseException, ctx: MachineContext) -> Stop:
            return Stop("there was no state to ask")

    async with workshop.worker(app=app_of(Typed)) as serving:
        healthy = await workshop.client.start(Typed(number=1))
        assert await healthy.result(10) == 1
        run = await workshop.client.start("typed", {"number": "seven"})
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        told = [event.will_retry for event in serving.events.of(TaskFailed)]
    assert failed.value.error_type == "PayloadError"
    assert "number" in (failed.value.message or "")
    assert told == [True, False]


async def test_a_step_that_nobody_has_is_a_failed_attempt(workshop: Workshop) -> None:
    class Lost(Machine, max_attempts=2, base_delay=0):
        @step(initial=True)
        async def begin(self, ctx: MachineContext) -> Done:
            return Done()

    async with workshop.worker(app=app_of(Lost)):
        run = await workshop.client.start(Lost(), delay=0.3)
        workshop.rows("update pgflow.step_tasks set step_slug = 'gone'")
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
    assert failed.value.error_type == "UnknownStep"
    assert "version 1, has no step 'gone' here; its steps are begin" in (failed.value.message or "")


def quick(attempt: int) -> float:
    return 0.01 * attempt


def broken(attempt: int) -> float:
    raise ZeroDivisionError("no delay")


def silly(attempt: int) -> Any:
    return "soon"


@pytest.mark.parametrize(
    ("backoff", "says"), [(quick, None), (broken, "ZeroDivisionError"), (silly, "soon")]
)
async def test_backoff_may_be_a_function(
    workshop: Workshop, backoff: Callable[[int], Any], says: str | None
) -> None:
    class Slow(Machine, max_attempts=3, base_delay=0 if says else 60, backoff=backoff):
        @step(initial=True)
        async def work(self, ctx: MachineContext) -> Done:
            raise OSError("away")

    began = time.monotonic()
    failed = await failure_of(workshop, Slow())
    assert time.monotonic() - began < 8
    message = failed.message or ""
    assert message == "away" if says is None else says in message and "away; then" in message


class Hopeless(Machine, timeout=1, max_attempts=1):
    """Its on_error does not come back either."""

    @step(initial=True)
    def work(self, ctx: MachineContext) -> Done:
        while not ctx.cancelled:
            time.sleep(0.01)
        return Done("too late")

    def on_error(self, error: BaseException, ctx: MachineContext) -> None:
        assert not ctx.cancelled
        while not ctx.cancelled:
            time.sleep(0.01)


async def test_on_error_has_a_timeout_of_its_own(workshop: Workshop) -> None:
    failed = await failure_of(workshop, Hopeless())
    assert failed.error_type == "TimedOut"
    assert (failed.message or "").count("ran longer than its timeout of 1 s") == 2
