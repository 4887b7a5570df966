"""Flows from data: put in, changed, replaced, deleted, looked for."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from stepwell import Client, Conflict, Flow, InvalidDefinition, NotFound, job
from stepwell.client.upserting import StepData
from stepwell.observe.emit import subscribed
from stepwell.observe.events import Event, FlowDeleted, FlowEnsured

from .workshop import Workshop

SLUG = "acct_123_hubspot_sync_v1"
STEPS: list[StepData] = [{"slug": "reshape", "deps": []}]
MORE: list[StepData] = [*STEPS, {"slug": "create_contact", "deps": ["reshape"]}]


@job(name="tidy")
def tidy() -> None: ...


async def runs_of(client: Client, slug: str = SLUG) -> list[tuple[str, int]]:
    return [(run.status, run.version) for run in await client.list(slug)]


async def test_a_flow_is_made_of_data(workshop: Workshop) -> None:
    client, heard = workshop.client, list[Event]()
    with subscribed(heard.append):
        made = await client.upsert_flow(SLUG, steps=MORE, max_attempts=4, timeout=9)
    assert (made.status, made.differences, made.version) == ("compiled", [], 1)
    assert heard == [FlowEnsured(SLUG, "compiled", 1)]
    assert workshop.rows(
        "select opt_max_attempts, opt_base_delay, opt_timeout, kind from pgflow.flows"
    ) == [(4, 1, 9, "flow")]
    run = await client.start_flow(SLUG, {"n": 1})
    states = (await client.get_run_with_states(run.id)).step_states
    assert [(s.step_slug, s.status) for s in states] == [
        ("reshape", "started"),
        ("create_contact", "created"),
    ]


async def test_the_same_again_changes_nothing_but_its_options(workshop: Workshop) -> None:
    client = workshop.client
    await client.upsert_flow(SLUG, steps=STEPS)
    run = await client.start_flow(SLUG, {})
    again = await client.upsert_flow(SLUG, steps=STEPS, max_attempts=9)
    assert (again.status, again.differences, again.version) == ("verified", [], 1)
    assert (await run.info()).status == "started"
    assert workshop.rows("select opt_max_attempts from pgflow.flows") == [(9,)]


async def test_another_shape_stands_beside_the_one_before(workshop: Workshop) -> None:
    client = workshop.client
    await client.upsert_flow(SLUG, steps=STEPS)
    old = await client.start_flow(SLUG, {})
    made = await client.upsert_flow(SLUG, steps=MORE)
    assert (made.status, made.version) == ("recompiled", 2)
    assert made.differences == ["step 'create_contact' is new, depends on 'reshape'"]
    new = await client.start_flow(SLUG, {})
    assert await runs_of(client) == [("started", 2), ("started", 1)]
    assert len((await client.get_run_with_states(old.id)).step_states) == 1
    assert len((await client.get_run_with_states(new.id)).step_states) == 2
    back = await client.upsert_flow(SLUG, steps=STEPS)  # its version is still there
    assert (back.status, back.version) == ("recompiled", 1)
    assert back.differences == ["step 'create_contact' is gone"]
    moved = await client.upsert_flow(SLUG, steps=STEPS, queue="acct")
    assert (moved.status, moved.version) == ("recompiled", 3)
    assert moved.differences == [f'queue "{SLUG}" -> "acct"']
    await client.upsert_flow(SLUG, steps=STEPS)
    named = await client.upsert_flow(SLUG, steps=MORE, queue=SLUG)  # as it would be anyway
    assert named.differences == ["step 'create_contact' is new, depends on 'reshape'"]


async def test_replacing_forgets_what_was_there(workshop: Workshop) -> None:
    client = workshop.client
    first = await client.upsert_flow(SLUG, steps=STEPS, replace=True)
    assert first.status == "compiled"
    old = await client.start_flow(SLUG, {})
    again = await client.upsert_flow(SLUG, steps=STEPS, replace=True, actor="ann")
    assert (again.status, again.differences, again.version) == ("recompiled", [], 1)
    with pytest.raises(NotFound):
        await client.get_run(old.id)
    assert await runs_of(client) == []
    assert workshop.rows("select count(*) from pgflow.versions") == [(1,)]
    [entry] = [e for e in await client.audit() if e.kind == "flow"]
    assert (entry.actor, entry.action, entry.target) == ("ann", "delete", SLUG)


async def test_a_refusal_changes_nothing(workshop: Workshop) -> None:
    client = workshop.client
    await client.upsert_flow(SLUG, steps=STEPS)
    wrong: list[StepData] = [{"slug": "a", "deps": ["b"]}]
    with pytest.raises(InvalidDefinition) as caught:
        await client.upsert_flow(SLUG, steps=wrong, replace=True)
    error = caught.value
    assert (error.reason, error.step, error.value) == ("unknown_dependency", "a", "b")
    assert workshop.rows("select step_slug from pgflow.steps") == [("reshape",)]


async def test_one_name_is_one_kind(workshop: Workshop) -> None:
    client = workshop.client
    await client.enqueue(tidy.call())
    for replace in (False, True):
        with pytest.raises(Conflict, match="'tidy' is a job"):
            await client.upsert_flow("tidy", steps=STEPS, replace=replace)
    assert await runs_of(client, "tidy") == [("started", 1)]


async def test_a_flow_in_code_can_be_changed_by_data(workshop: Workshop) -> None:
    flow = Flow("orders")

    @flow.step
    def reserve(flow_input: int) -> int:
        return flow_input

    client = workshop.client
    await client.start_flow(flow, 1)
    same = await client.upsert_flow("orders", steps=[{"slug": reserve.slug}])
    assert same.status == "verified"
    made = await client.upsert_flow("orders", steps=STEPS)
    assert made.status == "recompiled"
    run = await client.start_flow(flow, 2)  # code starts what code says
    assert (await run.info()).version == 1


async def test_it_is_part_of_your_transaction(workshop: Workshop) -> None:
    client = workshop.client
    async with await psycopg.AsyncConnection.connect(workshop.dsn) as conn:
        await client.upsert_flow(SLUG, steps=STEPS, conn=conn)
        await conn.rollback()
        assert not await client.flow_exists(SLUG)
        await client.upsert_flow(SLUG, steps=STEPS, conn=conn)
        await client.start_flow(SLUG, {}, conn=conn)
        await conn.commit()
        assert await runs_of(client) == [("started", 1)]
        assert await client.delete_flow(SLUG, conn=conn)
        await conn.rollback()
    assert await runs_of(client) == [("started", 1)]


async def test_a_flow_is_deleted_with_its_runs(workshop: Workshop) -> None:
    client, heard = workshop.client, list[Event]()
    await client.upsert_flow(SLUG, steps=MORE)
    await client.upsert_flow("other", steps=STEPS)
    for _ in range(3):
        await client.start_flow(SLUG, {})
    kept = await client.start_flow("other", {})
    with subscribed(heard.append):
        assert await client.delete_flow(SLUG, actor="ann")
        assert not await client.delete_flow(SLUG)  # no matter when it is gone
    assert heard == [FlowDeleted(SLUG)]
    assert not await client.flow_exists(SLUG)
    assert await runs_of(client) == []
    assert [entry.actor for entry in await client.audit() if entry.action == "delete"] == ["ann"]
    assert workshop.rows("select flow_slug from pgflow.step_tasks") == [("other",)]
    assert (await kept.info()).status == "started"
    with pytest.raises(NotFound):
        await client.start_flow(SLUG, {})
    assert (await client.upsert_flow(SLUG, steps=STEPS)).status == "compiled"


async def test_whether_there_is_a_flow(workshop: Workshop) -> None:
    client = workshop.client
    assert not await client.flow_exists(SLUG)
    await client.upsert_flow(SLUG, steps=STEPS)
    assert await client.flow_exists(SLUG)
    assert not await client.flow_exists(SLUG.upper())
    assert await client.flow_exists(Flow(SLUG))
    assert not await client.delete_flow(Flow("acct_2_sync"))
    wrong: list[Any] = ["", "a-b", "run", 7, int]
    for slug in wrong:
        for ask in (client.flow_exists, client.delete_flow):
            with pytest.raises(InvalidDefinition) as caught:
                await ask(slug)
            assert (caught.value.reason, caught.value.value) == ("invalid_slug", slug)


def test_the_same_without_a_loop(dsn: str) -> None:
    with Client.sync(dsn) as client:
        assert client.upsert_flow(SLUG, steps=STEPS).status == "compiled"
        assert client.upsert_flow(SLUG, steps=MORE).status == "recompiled"
        assert client.upsert_flow(SLUG, steps=MORE, replace=True).differences == []
        assert client.flow_exists(SLUG)
        assert client.start_flow(SLUG, {}).info().status == "started"
        assert client.delete_flow(SLUG)
        assert not client.delete_flow(SLUG)
        with pytest.raises(InvalidDefinition):
            client.upsert_flow(SLUG, steps=[])
