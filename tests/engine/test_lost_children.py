"""A child fails, its parent is to fail with it, and before the parent hears why, the child is
deleted."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Done, Flow, Machine, MachineContext, RunFailed, Spawn, Stepwell, job, step

from .workshop import Workshop


@job(max_attempts=1)
async def fragile() -> None:
    raise ValueError("it broke")


parents = Flow[None, Any]("parents")


@parents.step
def spawn() -> Spawn:
    return Spawn([fragile.call()], on_failure="fail")


class Parent(Machine, max_attempts=1, queue="parents"):
    handles: bool = False

    @step(initial=True)
    async def spawn(self, ctx: MachineContext) -> Spawn:
        return Spawn([fragile.call()], then=self.join, on_failure="fail")

    @step
    async def join(self, ctx: MachineContext) -> Done:
        return Done("no child failed")

    async def on_error(self, error: BaseException, ctx: MachineContext) -> Done | None:
        return Done(str(error)) if self.handles and isinstance(error, RunFailed) else None


APP = Stepwell(flows=[parents], machines=[Parent], jobs=[fragile])
GONE = "a child failed, and was deleted or retried since"


async def bereave(workshop: Workshop, start: Any) -> Any:
    """A parent that has yet to hear of its child, which failed and is not there any more."""
    client = workshop.client
    await client.pause_queue("fragile")
    run = await start
    await workshop.until("select 1 from pgflow.step_tasks where stage = 'parked'")
    await client.pause_queue("parents")
    await client.resume_queue("fragile")
    [(child,)] = await workshop.until("select run_id from pgflow.runs where status = 'failed'")
    await client.delete(child)
    await client.resume_queue("parents")
    return run


async def test_a_flow_fails_with_a_child_that_was_deleted(workshop: Workshop) -> None:
    async with workshop.worker(app=APP) as serving:
        run = await bereave(workshop, workshop.client.start(parents, None))
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
        assert not serving.task.done()
    assert (failed.value.step, failed.value.error_type) == ("spawn", "ChildFailed")
    assert failed.value.message == GONE


async def test_a_machine_fails_with_a_child_that_was_deleted(workshop: Workshop) -> None:
    async with workshop.worker(app=APP):
        run = await bereave(workshop, workshop.client.start(Parent()))
        with pytest.raises(RunFailed) as failed:
            await run.result(10)
    assert (failed.value.step, failed.value.error_type) == ("join", "ChildFailed")
    assert failed.value.message == GONE


async def test_on_error_hears_of_a_child_that_was_deleted(workshop: Workshop) -> None:
    async with workshop.worker(app=APP):
        run = await bereave(workshop, workshop.client.start(Parent(handles=True)))
        assert await run.result(10) == f"run {run.id} failed: {GONE}"
