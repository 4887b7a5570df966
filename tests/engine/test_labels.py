"""ctx.tags and ctx.metadata: in handlers of every kind, in a worker and in the testing kit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from stepwell import (
    Attempt,
    Child,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    Next,
    Proceed,
    Spawn,
    Stepwell,
    Stop,
    job,
    step,
)
from stepwell.testing import Kit

from .workshop import Workshop

PATIENCE = 60.0
TAGS = ("vip", "eu")
METADATA = {"shop": {"id": 3, "note": None}, "by": "ann"}
LABELS: dict[str, Any] = {"tags": TAGS, "metadata": METADATA}
TOLD = [list(TAGS), METADATA]
around: list[tuple[str, list[Any]]] = []


def said(ctx: Context | MachineContext) -> list[Any]:
    return [list(ctx.tags), dict(ctx.metadata)]


parcels = Flow[list[int], dict[str, Any]]("parcels", max_attempts=2, base_delay=0)


@parcels.map
async def weigh(element: int, ctx: Context) -> list[Any]:
    return said(ctx)


@parcels.step(weigh, process=True)
def pack(ctx: Context) -> list[Any]:
    if ctx.attempt == 1:
        raise ValueError("torn")
    return said(ctx)


@parcels.step(weigh, transactional=True)
async def book(ctx: Context) -> list[Any]:
    await ctx.connection.execute("select 1")
    return said(ctx)


@job
def mail(ctx: Context) -> list[Any]:
    return said(ctx)


class Route(Machine):
    found: list[Any] = []  # noqa: RUF012

    @step(initial=True)
    async def leave(self, ctx: MachineContext) -> Next:
        self.found = said(ctx)
        return Next(self.arrive)

    @step
    def arrive(self, ctx: MachineContext) -> Done:
        raise ValueError(said(ctx))

    def on_error(self, error: Exception, ctx: MachineContext) -> Done:
        return Done([self.found, error.args[0], said(ctx)])


class Family(Machine):
    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Spawn:
        whose = {"of": ctx.metadata["by"]}
        tagged = Child(mail.call(), tags=[*ctx.tags, "child"], metadata=whose)
        return Spawn([mail.call(), tagged], then=self.end)

    @step
    async def end(self, ctx: MachineContext) -> Done | Stop:
        return Done([child.output for child in await ctx.children()])


async def looks(attempt: Attempt, proceed: Proceed) -> Any:
    context: Any = attempt.context
    around.append((attempt.name, said(context)))
    return await proceed()


app = Stepwell(flows=[parcels], machines=[Route, Family], jobs=[mail], middleware=[looks])


def check(answers: Mapping[str, Any]) -> None:
    assert answers["parcels"] == {"pack": TOLD, "book": TOLD}
    assert answers["mail"] == TOLD
    assert answers["route"] == [TOLD, TOLD, TOLD]
    assert answers["family"] == [[[], {}], [["vip", "eu", "child"], {"of": "ann"}]]
    assert {name for name, labels in around if labels == TOLD} == set(answers)


async def test_handlers_of_every_kind_see_the_labels_of_their_run(workshop: Workshop) -> None:
    around.clear()
    client = workshop.client
    async with workshop.worker(app=app, body_processes=1):
        runs: dict[str, Any] = {
            "parcels": await client.start(parcels, [1, 2], **LABELS),
            "mail": await client.enqueue(mail.call(), **LABELS),
            "route": await client.start(Route(), **LABELS),
            "family": await client.start(Family(), **LABELS),
        }
        plain = await client.enqueue(mail.call())
        check({name: await run.result(PATIENCE) for name, run in runs.items()})
        assert await plain.result(PATIENCE) == [[], {}]
    weighed = "select output from pgflow.step_states where step_slug = 'weigh'"
    assert workshop.rows(weighed) == [([TOLD, TOLD],)]


async def test_the_testing_kit_has_them_too(dsn: str) -> None:
    around.clear()
    async with Kit(app, dsn) as kit:
        runs: dict[str, Any] = {
            "parcels": await kit.client.start(parcels, [1], **LABELS),
            "mail": await kit.client.enqueue(mail.call(), **LABELS),
            "route": await kit.client.start(Route(), **LABELS),
            "family": await kit.client.start(Family(), **LABELS),
        }
        await kit.drain()
        check({name: await run.result(PATIENCE) for name, run in runs.items()})


async def test_an_attempt_sees_the_labels_of_when_it_was_claimed(dsn: str) -> None:
    seen: list[Any] = []
    late = Flow[int, Any]("late", base_delay=0)

    @late.step
    async def first(flow_input: int, ctx: Context) -> int:
        await run.label("checked", remove=["vip"], metadata={"by": None, "note": 1})
        seen.append(said(ctx))
        with pytest.raises(TypeError):
            ctx.metadata["by"] = "eve"  # pyright: ignore[reportIndexIssue]
        if ctx.attempt == 1:
            raise ValueError("again")
        return flow_input

    async with Kit(Stepwell(flows=[late]), dsn) as kit:
        run = await kit.client.start(late, 1, **LABELS)
        await kit.drain()
    assert seen == [TOLD, [["eu", "checked"], {"shop": METADATA["shop"], "note": 1}]]
