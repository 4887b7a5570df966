"""Middleware around the handlers of every kind, in a worker and in the testing kit."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest

from stepwell import (
    Attempt,
    Await,
    Done,
    Flow,
    Machine,
    MachineContext,
    Proceed,
    RunFailed,
    Stepwell,
    job,
    queue_worker,
    step,
)
from stepwell.observe.events import MessageArchived
from stepwell.testing import Kit

from .workshop import Workshop

who: ContextVar[str] = ContextVar("who", default="nobody")
seen: list[tuple[Any, ...]] = []


async def facts(attempt: Attempt, proceed: Proceed) -> Any:
    """Notes what it sees, and tells handlers who they are."""
    who.set(f"{attempt.kind} {attempt.name}")
    result = "?"
    try:
        result = await proceed()
        return result
    except ValueError as error:
        result = repr(error)
        raise
    finally:
        said = "an outcome" if isinstance(result, Await | Done) else result
        seen.append((attempt.kind, attempt.name, attempt.step, attempt.number, said))


async def strict(attempt: Attempt, proceed: Proceed) -> Any:
    """Inside of the other: what it raises is seen there."""
    if attempt.name == "refused":
        raise ValueError(f"no {attempt.kind} is called {attempt.name}")
    return await proceed()


greet = Flow("greet")


@greet.step
def in_a_thread(flow_input: str) -> str:
    return who.get()


@greet.step
async def in_the_loop(in_a_thread: str) -> str:
    return who.get()


@job
def write(text: str) -> str:
    return who.get()


@job(max_attempts=3, no_retry=ValueError)
def refused() -> None: ...


class Waiting(Machine):
    @step(initial=True)
    def begin(self, ctx: MachineContext) -> Await:
        return Await("go", then=self.end)

    @step
    async def end(self, ctx: MachineContext) -> Done:
        return Done(who.get())


@queue_worker("letters")
def read(letter: str) -> str:
    seen.append(("inside", who.get()))
    return letter


APP = Stepwell(
    flows=[greet],
    machines=[Waiting],
    jobs=[write, refused],
    queues=[read],
    middleware=[facts, strict],
)
OF_RUNS = [
    ("flow", "greet", "in_a_thread", 1, "flow greet"),
    ("flow", "greet", "in_the_loop", 1, "flow greet"),
    ("job", "refused", None, 1, "ValueError('no job is called refused')"),
    ("job", "write", None, 1, "job write"),
    ("machine", "waiting", "begin", 1, "an outcome"),
    ("machine", "waiting", "end", 1, "an outcome"),
]


def told() -> list[tuple[Any, ...]]:
    return sorted((each for each in seen if each[0] not in ("message", "inside")), key=str)


async def test_it_goes_around_the_handlers_of_every_kind(workshop: Workshop) -> None:
    seen.clear()
    client = workshop.client
    async with workshop.worker(app=APP) as serving:
        greeted = await client.start(greet, "hello")
        waiting = await client.start(Waiting())
        written = await client.enqueue(write.call("x"))
        no = await client.enqueue(refused.call())
        await client.signal(waiting.id, "go", {})
        await client.send("letters", "dear")
        assert await greeted.result(20) == {"in_the_loop": "flow greet"}
        assert await waiting.result(20) == "machine waiting"
        assert await written.result(20) == "job write"
        with pytest.raises(RunFailed, match="no job is called refused"):
            await no.result(20)
        assert len(await no.attempts()) == 1  # no_retry holds for its errors too
        await serving.events.first(MessageArchived)
    assert told() == OF_RUNS
    messages = [each for each in seen if each[0] in ("message", "inside")]
    assert messages == [("inside", "message letters"), ("message", "letters", None, 1, "dear")]


async def test_the_testing_kit_has_it_too(dsn: str) -> None:
    seen.clear()
    async with Kit(APP, dsn) as kit:
        await kit.client.start(greet, "hello")
        waiting = await kit.client.start(Waiting())
        await kit.client.enqueue(write.call("x"))
        await kit.client.enqueue(refused.call())
        await kit.client.signal(waiting.id, "go", {})
        await kit.drain()
    assert told() == OF_RUNS
