"""Runs, queues and definitions steered by a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from stepwell import Client, Conflict, NotFound, PayloadError, RunCancelled, Settings, job

from .client_hands import Ears, Worker, single

orders = single()


@job
def tidy() -> None: ...


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(settings=Settings(dsn=dsn, name="ada")) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn, "orders", "tidy")


async def test_a_run_is_steered_by_its_key(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1, key="k")
    assert await client.pause("k")
    assert (await client.get("k")).paused
    assert (await client.list())[0].paused_at is not None
    assert not await client.pause("k")
    assert worker.claim() == []
    assert await client.resume("k")
    assert not await client.resume("k")
    assert not (await client.get("k")).paused
    assert await client.set_priority("k", -5)
    assert (await client.get("k")).priority == -5
    assert await client.cancel("k", "a whim")
    with pytest.raises(RunCancelled, match="a whim"):
        await run.result(5)
    assert not await client.cancel("k")
    assert await client.retry("k")
    assert len(worker.complete()) == 1
    assert await run.result(5) == {"ship": None}
    assert not await client.retry("k")
    assert not await client.set_priority("k", 1)


async def test_a_restart_is_a_new_run_that_knows_the_old_one(
    client: Client, worker: Worker
) -> None:
    run = await client.start(orders, 7, key="k")
    worker.complete("first")
    again = await client.restart("k")
    info = await again.info()
    assert (info.origin_id, info.input, again.created) == (run.id, 7, True)
    worker.complete("second")
    assert await again.result(5) == {"ship": "second"}
    assert await run.result(5) == {"ship": "first"}
    by_step = await run.restart("ship", actor="grace")
    assert (await by_step.info()).origin_id == run.id


async def test_deleting_forgets_what_has_ended(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1, key="k")
    with pytest.raises(Conflict, match="is live"):
        await run.delete()
    worker.complete()
    assert await client.delete("k")
    with pytest.raises(NotFound):
        await run.info()


async def test_whoever_steers_leaves_a_trace(client: Client, dsn: str) -> None:
    run = await client.start(orders, 1)
    await run.pause()
    await run.cancel("a whim", actor="grace")
    await client.pause_queue("orders", "too hot")
    async with Client(dsn) as nameless:
        await nameless.resume_queue("orders")
    entries = await client.audit()
    user = conninfo_to_dict(dsn)["user"]
    assert [entry.actor for entry in entries] == [user, "ada", "grace", "ada"]
    assert [entry.kind for entry in entries] == ["queue", "queue", "run", "run"]
    assert [entry.run_id for entry in await client.audit(run)] == [run.id, run.id]
    assert len(await client.audit(limit=1)) == 1
    with pytest.raises(PayloadError, match="limit is 0"):
        await client.audit(limit=0)


async def test_queues_and_definitions_are_paused(client: Client, worker: Worker) -> None:
    await client.start(orders, 1)
    await client.enqueue(tidy.call())
    assert await client.pause_queue("orders", "too hot")
    assert await client.pause_flow("tidy")
    assert not await client.pause_queue("orders")
    assert not await client.pause_flow("tidy")
    assert worker.claim() == []
    assert await client.resume_flow("tidy")
    assert not await client.resume_flow("tidy")
    assert [task.flow_slug for task in worker.complete()] == ["tidy"]
    assert await client.resume_queue("orders")
    assert [task.flow_slug for task in worker.complete()] == ["orders"]


async def test_workers_hear_of_what_may_go_on(client: Client, dsn: str) -> None:
    run = await client.start(orders, 1)
    await run.pause()
    await client.pause_queue("orders")
    with psycopg.connect(dsn, autocommit=True) as conn:
        await asyncio.sleep(0.1)
        ears = Ears(conn)
        for steer in (run.resume, run.cancel, run.retry, run.restart):
            await steer()
            await asyncio.sleep(0.1)  # what is put off is sent after the window
            heard = ears.heard()
            assert set(heard) == (set() if steer == run.cancel else {"orders"}), steer
        await client.resume_queue("orders")
        assert ears.heard() == ["orders"]


async def test_what_is_not_there_cannot_be_steered(client: Client) -> None:
    for target in (uuid4(), "never"):
        for steer in (client.cancel, client.retry, client.pause, client.resume, client.restart):
            with pytest.raises(NotFound):
                await steer(target)
        with pytest.raises(NotFound):
            await client.delete(target)
    run = await client.start(orders, 1)
    with pytest.raises(PayloadError, match="priority is 99999"):
        await run.set_priority(99_999)


async def test_children_of_a_run(client: Client, worker: Worker) -> None:
    parent = await client.start(orders, 1)
    child = await client.start(orders, 2, key="child")
    worker.hands.conn.execute(
        "update pgflow.runs set parent_run_id = %s where run_id = %s", (parent.id, child.id)
    )
    [info] = await parent.children()
    assert (info.run_id, info.slug, info.kind, info.status) == (
        child.id,
        "orders",
        "flow",
        "started",
    )
    assert (info.key, info.output) == ("child", None)
    assert (await child.info()).parent_id == parent.id


def test_the_blocking_client_steers_too(dsn: str, worker: Worker) -> None:
    with Client.sync(dsn) as client:
        run = client.start(orders, 1, key="k")
        assert client.pause("k") and client.resume(run)
        assert client.pause_queue("orders") and client.resume_queue("orders")
        assert client.pause_flow("orders") and client.resume_flow("orders")
        assert client.set_priority(run.id, 3)
        assert client.cancel(run) and client.retry(run)
        worker.complete()
        again = client.restart("k", actor="ada")
        assert (again.info().origin_id, again.info().priority) == (run.id, 3)
        assert client.delete(run)
        assert run.children() == []
        assert client.audit(limit=1)[0].action == "delete"
