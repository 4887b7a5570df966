"""Outcomes that cannot be written harm only themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from stepwell import Flow, RunFailed
from stepwell.observe.events import CommitFailed

from .workshop import Workshop

# JSON enough for msgspec.Raw, but not for Postgres; and what it says
REFUSED_BY_POSTGRES: dict[str, tuple[bytes, str]] = {
    "a number beyond numeric": (b"1e400000", "overflow"),
    "half a surrogate pair": (b'"\\ud800"', "input syntax for type json"),
    "no JSON at all": (b'{"a": }', "input syntax for type json"),
    "nested a million deep": (b"[" * 1_000_000 + b"]" * 1_000_000, "stack depth"),
}


class Opaque:
    """Nothing that msgspec knows."""


REFUSED_BY_US: dict[str, tuple[Callable[[], Any], str]] = {
    "an object": (Opaque, "the output of step 'make' is not JSON: a value of type Opaque at $"),
    "an object inside": (lambda: {"a": [1, Opaque()]}, "type Opaque at $.a[1]"),
    "not a number": (lambda: [1.0, float("nan")], "nan at $[1] is not a JSON number"),
    "zero character": (lambda: {"text": "a\0b"}, "U+0000"),
    "a set of objects": (lambda: {Opaque()}, "Opaque"),
    "bytes that are no text": (lambda: msgspec.Raw(b'"\xff"'), "not JSON"),
}


async def test_an_output_that_is_no_json_says_which_step_and_type(workshop: Workshop) -> None:
    flow = Flow[str, Any]("unjson", max_attempts=1)

    @flow.step
    async def make(flow_input: str) -> Any:
        return REFUSED_BY_US[flow_input][0]()

    async with workshop.worker(flow):
        for name, (_, says) in REFUSED_BY_US.items():
            run = await workshop.client.start(flow, name)
            with pytest.raises(RunFailed) as failed:
                await run.result(10)
            assert says in (failed.value.message or ""), name
            assert "step 'make'" in (failed.value.message or ""), name


@pytest.mark.parametrize("name", REFUSED_BY_POSTGRES)
async def test_a_poisoned_outcome_fails_alone_in_its_batch(workshop: Workshop, name: str) -> None:
    poison, says = REFUSED_BY_POSTGRES[name]
    flow = Flow[int, Any]("batch", max_attempts=2, base_delay=0)
    together = asyncio.Barrier(51)
    made: list[int] = []

    @flow.step
    async def make(flow_input: int) -> Any:
        if not made:
            await together.wait()
        made.append(flow_input)
        return msgspec.Raw(poison) if flow_input == 25 else flow_input

    async with workshop.worker(flow, concurrency=102) as serving:
        runs = await workshop.client.start_many(flow, range(51))
        for number, run in enumerate(runs):
            if number != 25:
                assert await run.result(15) == {"make": number}
        with pytest.raises(RunFailed) as failed:
            await runs[25].result(15)
        attempts = await runs[25].attempts()
        refusals = serving.events.of(CommitFailed)
    assert (failed.value.step, failed.value.error_type) == ("make", "OutputRefused")
    assert says in (failed.value.message or "")
    assert [a.error_type for a in attempts] == ["OutputRefused"] * 2
    assert len(refusals) == 2
    assert sorted(made) == sorted([*range(51), 25])


async def test_deep_json_that_postgres_takes_fails_only_who_reads_it(workshop: Workshop) -> None:
    flow = Flow[None, Any]("deep", max_attempts=1)

    @flow.step
    def dig() -> Any:
        return msgspec.Raw(b"[" * 5000 + b"]" * 5000)

    @flow.step(if_exhausted="skip")
    def read(dig: Any) -> int:
        return 1

    @flow.step
    async def go_on() -> int:
        return 2

    async with workshop.worker(flow):
        run = await workshop.client.start(flow, None)
        assert await run.result(10) == {"go_on": 2}
        [attempt] = await run.attempts()
    assert attempt.step == "read"


async def test_an_outcome_that_was_rolled_back_for_others_sake_is_written(
    workshop: Workshop,
) -> None:
    flow = Flow[int, Any]("unlucky")
    bodies: list[int] = []

    @flow.step
    async def make(flow_input: int) -> int:
        bodies.append(flow_input)
        return flow_input

    workshop.rows(
        "create sequence public.bad_luck;"
        " create function pgflow.unlucky() returns trigger language plpgsql as $$ begin"
        " if nextval('public.bad_luck') <= 3 then raise 'no luck' using errcode ="
        " (array['40P01', '40001', '55P03'])[currval('public.bad_luck')]; end if;"
        " return new; end $$;"
        " create trigger unlucky before update on pgflow.step_tasks for each row"
        " when (new.status = 'completed') execute function pgflow.unlucky()"
    )
    async with workshop.worker(flow) as serving:
        runs = await workshop.client.start_many(flow, range(5))
        assert [await run.result(15) for run in runs] == [{"make": n} for n in range(5)]
        assert serving.events.of(CommitFailed) == []
    assert sorted(bodies) == [0, 1, 2, 3, 4]


async def test_a_task_that_cannot_be_claimed_stands_in_nobodys_way(workshop: Workshop) -> None:
    flow, other = Flow[int, Any]("too_large", queue="shared"), Flow[int, Any]("other")

    @flow.step
    def first(flow_input: int) -> int:
        return flow_input

    @flow.step
    def poisoned(first: int) -> None: ...

    @other.step
    async def fine(flow_input: int) -> int:
        return flow_input

    workshop.rows(  # as if what `first` gives were more than jsonb can hold
        "alter function pgflow.describe_tasks(bigint[]) rename to describe_tasks_really;"
        " create function pgflow.describe_tasks(ids bigint[]) returns setof pgflow.claimed_task"
        " language plpgsql as $$ begin if exists (select from pgflow.step_tasks t where"
        " t.message_id = any (ids) and t.step_slug = 'poisoned') then"
        " raise 'total size exceeds' using errcode = '54000'; end if;"
        " return query select * from pgflow.describe_tasks_really(ids); end $$"
    )
    async with workshop.worker(flow, other, concurrency=4, poll=0.2) as serving:
        bad = await workshop.client.start_many(flow, range(3))
        good = await workshop.client.start_many(other, range(30))
        for number, run in enumerate(good):
            assert await run.result(10) == {"fine": number}
        for run in bad:
            with pytest.raises(RunFailed, match="total size exceeds"):
                await run.result(10)
        assert not serving.task.done()
