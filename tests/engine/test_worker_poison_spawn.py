"""Children that cannot be started fail the attempt that wants them, and nothing else."""

from __future__ import annotations

import pytest

from stepwell import (
    Await,
    Child,
    Done,
    Flow,
    Machine,
    MachineContext,
    RateLimit,
    RunFailed,
    Spawn,
    Stepwell,
    job,
    step,
)

from .workshop import Workshop

lowered = RateLimit("lowered", 5)  # by another app, meanwhile
forgotten = RateLimit("forgotten", 1)
parents = Flow[str, object]("parents", max_attempts=2, base_delay=0)


@job
async def work(number: int = 0) -> int:
    return number


@job
async def absent() -> None: ...


WANTED = {
    "key of another definition": lambda: Child(work.call(), key="held"),
    "key of its own definition": lambda: Child(work.call(), key="waiting"),
    "not deployed": absent.call,
    "no such limit": lambda: Child(work.call(), rate_limit=forgotten),
    "too heavy": lambda: Child(work.call(), rate_limit=lowered.of(weight=5)),
}
SAID = {
    "key of another definition": "key 'held' belongs to run",
    "key of its own definition": "a child cannot have the key 'waiting': run",
    "not deployed": "'absent'",
    "no such limit": "there is no rate limit 'forgotten'",
    "too heavy": "above the burst of rate limit 'lowered'",
}


class Parent(Machine, base_delay=0, max_attempts=2):
    wants: str

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Spawn:
        return Spawn([work.call(number=1), WANTED[self.wants]()], then=self.end)

    @step
    async def end(self, ctx: MachineContext) -> Done:
        return Done()


class Held(Machine):
    @step(initial=True)
    async def wait(self, ctx: MachineContext) -> Await:
        return Await("never", then=self.end)

    @step
    async def end(self, ctx: MachineContext) -> Done:
        return Done()


@parents.step
async def spawn(flow_input: str) -> Spawn:
    return Spawn([WANTED[flow_input]()])


app = Stepwell(flows=[parents], machines=[Parent, Held], jobs=[work], limits=[lowered, forgotten])


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("kind", ["machine", "flow"])
async def test_a_child_that_cannot_be_started(workshop: Workshop, kind: str, wanted: str) -> None:
    client = workshop.client
    async with workshop.worker(app=app) as serving:
        workshop.rows("update pgflow.limits set capacity = 2 where name = 'lowered'")
        workshop.rows("delete from pgflow.limits where name = 'forgotten'")
        held = await client.start(Held(), key="held")
        await client.enqueue(work.call(), key="waiting", delay=3600)
        what = Parent(wants=wanted) if kind == "machine" else parents.call(wanted)
        run = await client.start(what)
        others = await client.enqueue_many([work.call(n) for n in range(20)])
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        assert [await other.result(10) for other in others] == list(range(20))
        attempts = await run.attempts()
        assert not serving.task.done()
        assert (await held.info()).status == "started"
    assert SAID[wanted] in (failed.value.message or "")
    assert [attempt.attempt for attempt in attempts] == [1, 2]
    assert all(SAID[wanted] in attempt.error_message for attempt in attempts)
    assert await run.children() == []
