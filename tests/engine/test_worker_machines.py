"""Machines: what their steps answer, what goes wrong in them, and what is kept of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import (
    Await,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    PermanentError,
    Retry,
    RunFailed,
    Spawn,
    Stepwell,
    Stop,
    job,
    step,
)
from stepwell.observe.events import ErrorHandled, TaskFailed, TaskSucceeded

from .workshop import Workshop


def app_of(*machines: type[Machine], **parts: Any) -> Stepwell:
    return Stepwell(machines=machines, **parts)


async def failure_of(workshop: Workshop, machine: Machine, **settings: Any) -> RunFailed:
    async with workshop.worker(app=app_of(type(machine)), **settings):
        run = await workshop.client.start(machine)
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
    return failed.value


# --- outcomes ---


class Counter(Machine):
    upto: int
    seen: list[int] = field(default_factory=list[int])

    @step(initial=True)
    async def count(self, ctx: MachineContext) -> Next | Done:
        self.seen.append(len(self.seen))
        if len(self.seen) < self.upto:
            return Next(self.count)
        return Done(self.seen)


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


# --- children ---


@job(max_attempts=1)
async def double(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number * 2


numbers = Flow[int, Any]("numbers")


@numbers.step
def add_one(flow_input: int) -> int:
    return flow_input + 1


class Family(Machine):
    on_failure: str = "wait"
    first: int = 1
    handle: bool = False

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Spawn:
        children = [double.call(self.first), numbers.call(5), Counter(upto=2)]
        policy: Any = self.on_failure
        return Spawn(children, then=self.join, on_failure=policy)

    @step
    async def join(self, ctx: MachineContext) -> Done:
        children = await ctx.children()
        return Done([[child.kind, child.status, child.output] for child in children])

    async def on_error(self, error: BaseException, ctx: MachineContext) -> Done | None:
        if self.handle and isinstance(error, RunFailed):
            return Done(f"{ctx.step}: {error.message}")
        return None


FAMILY = app_of(Family, Counter, jobs=[double], flows=[numbers])


async def test_children_of_every_kind_are_joined(workshop: Workshop) -> None:
    async with workshop.worker(app=FAMILY):
        run = await workshop.client.start(Family())
        assert await run.result(10) == [
            ["job", "completed", 2],
            ["flow", "completed", {"add_one": 6}],
            ["machine", "completed", [0, 1]],
        ]


async def test_a_failed_child_is_counted_like_any(workshop: Workshop) -> None:
    async with workshop.worker(app=FAMILY):
        run = await workshop.client.start(Family(first=-1))
        assert (await run.result(10))[0] == ["job", "failed", None]


async def test_a_failed_child_fails_its_parent_if_asked_to(workshop: Workshop) -> None:
    async with workshop.worker(app=FAMILY):
        run = await workshop.client.start(Family(first=-1, on_failure="fail"))
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        handled = await workshop.client.start(Family(first=-1, on_failure="fail", handle=True))
        assert await handled.result(10) == "join: -1 is negative"
    assert (failed.value.step, failed.value.error_type) == ("join", "ChildFailed")
    assert "-1 is negative" in (failed.value.message or "")


async def test_a_sync_step_reads_its_children_too(workshop: Workshop) -> None:
    class Parent(Machine):
        @step(initial=True)
        def begin(self, ctx: MachineContext) -> Spawn:
            return Spawn([double.call(number=n) for n in range(5)], then=self.join)

        @step
        def join(self, ctx: MachineContext) -> Done:
            return Done([child.output for child in ctx.wait(ctx.children(limit=3))])

    async with workshop.worker(app=app_of(Parent, jobs=[double])):
        run = await workshop.client.start(Parent())
        assert await run.result(10) == [0, 2, 4]


# --- what goes wrong ---


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
