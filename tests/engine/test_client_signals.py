"""Signals as a client sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

from stepwell import (
    Await,
    Client,
    Conflict,
    Done,
    Machine,
    MachineContext,
    NoTarget,
    PayloadError,
    job,
    step,
)
from stepwell.client.signals import message_of
from stepwell.db.commit import Entry
from stepwell.define.payload import encode

from .client_hands import Ears, Worker, single


class Checkout(Machine):
    order: int

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Await:
        return Await("paid", then=self.ship)

    @step
    async def ship(self, ctx: MachineContext) -> Done:
        return Done([signal.payload for signal in ctx.awaited])


@job
def tidy() -> None: ...


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn, "checkout")


def move(worker: Worker, word: str, **said: Any) -> None:
    [task] = worker.claim()
    text = encode({"state": {"order": 1}, "handed": [], **said}).decode()
    worker.hands.commit([Entry(task.message_id, task.claim_token, word, text)])


def park(worker: Worker) -> None:
    move(worker, "await", step="ship", names=["paid"], all=False, timeout=None)


async def test_a_signal_goes_to_an_id_a_key_or_a_handle(client: Client, worker: Worker) -> None:
    run = await client.start(Checkout(order=1), key="order:1")
    for target in (run.id, str(run.id), "order:1", run):
        sent = await client.signal(target, "paid", {"amount": 100})
        assert (sent.run_id, sent.created) == (run.id, True)
    inbox = await run.signals()
    assert [s.payload for s in inbox] == [{"amount": 100}] * 4
    assert [s.consumed_at for s in inbox] == [None] * 4
    assert [s.id for s in await run.signals(limit=2)] == [s.id for s in inbox[:2]]
    park(worker)
    [task] = worker.claim()
    assert task.step_slug == "ship"


@pytest.mark.parametrize("payload", [None, 0, False, "text", [], [1, [None]], {}, {"a": {"b": 1}}])
async def test_any_json_is_a_payload(client: Client, payload: Any) -> None:
    run = await client.start(Checkout(order=1))
    await client.signal(run, "paid", payload)
    assert [s.payload for s in await run.signals()] == [payload]


async def test_a_dedup_key_counts_once_for_the_life_of_the_run(
    client: Client, worker: Worker
) -> None:
    run = await client.start(Checkout(order=1), key="k")
    first = await client.signal("k", "paid", 1, dedup_key="a")
    second = await client.signal("k", "paid", 2, dedup_key="a")
    assert (second.id, second.created) == (first.id, False)
    park(worker)
    move(worker, "next", step="begin", handed=[first.id])
    [consumed] = await run.signals()
    assert consumed.consumed_at is not None
    assert not (await client.signal("k", "paid", 3, dedup_key="a")).created
    assert await run.signals(unconsumed_only=True) == []
    assert (await client.signal("k", "paid", 3, dedup_key="b")).created


async def test_a_signal_whose_answer_was_lost_is_sent_again_and_counts_once(
    client: Client, dsn: str
) -> None:
    run = await client.start(Checkout(order=1))
    message = message_of(run.id, "paid", 1, None, repeatable=True)
    with psycopg.connect(dsn, autocommit=True) as conn:
        sent = [message.sent(message.call.on_sync(conn)[0]) for _ in range(2)]
    assert sent[0] == sent[1]
    assert sent[0].created
    assert len(await run.signals()) == 1


async def test_nobody_is_there_for_a_signal(client: Client, worker: Worker) -> None:
    run = await client.start(Checkout(order=1), key="k")
    await run.cancel()
    for target in (run.id, "k", "never", uuid4()):
        with pytest.raises(NoTarget, match="to signal 'paid' to"):
            await client.signal(target, "paid")
    assert await run.signals() == []


@pytest.mark.parametrize(
    ("name", "payload", "dedup_key", "said"),
    [
        ("", 1, None, "the name of the signal"),
        ("paid", object(), None, r"at \$ cannot be written as JSON"),
        ("paid", "a\0b", None, "U"),
        ("paid", 1, "", "cannot be a dedup key"),
        ("paid", 1, "☃" * 513, "cannot be a dedup key"),
    ],
)
async def test_what_cannot_be_a_signal(
    client: Client, name: str, payload: Any, dedup_key: str | None, said: str
) -> None:
    run = await client.start(Checkout(order=1))
    with pytest.raises(Exception, match=said):
        await client.signal(run, name, payload, dedup_key=dedup_key)
    assert await run.signals() == []


async def test_a_signal_starts_its_target_if_there_is_none(client: Client, worker: Worker) -> None:
    for n in (1, 2):
        sent = await client.signal("k", "paid", n, start=Checkout(order=n))
        assert sent.created
    run = await client.find("k")
    assert [s.payload for s in await run.signals()] == [1, 2]
    assert (await run.info()).state == {"order": 1}
    await run.cancel()
    sent = await client.signal("k", "paid", 3, start=Checkout(order=3))
    assert sent.run_id != run.id
    with pytest.raises(Conflict, match="key 'k' belongs to run"):
        await client.signal("k", "paid", start=tidy.call())
    with pytest.raises(PayloadError, match="signal a key to start one"):
        await client.signal(run.id, "paid", start=Checkout(order=1))


async def test_many_signals_at_once_start_one_run(client: Client) -> None:
    sent = await asyncio.gather(
        *(client.signal("k", "paid", n, start=Checkout(order=n)) for n in range(20))
    )
    assert len({each.run_id for each in sent}) == 1
    assert len(await client.run(sent[0].run_id).signals()) == 20


async def test_signals_and_their_target_are_part_of_your_transaction(
    client: Client, dsn: str
) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        await client.signal("k", "paid", start=Checkout(order=1), conn=conn)
        await conn.rollback()
        assert await client.list() == []
        await client.signal("k", "paid", start=Checkout(order=1), conn=conn)
        await client.signal("k", "paid", conn=conn)
        await conn.commit()
    [first, second] = await (await client.find("k")).signals()
    assert (first.dedup_key, second.dedup_key) == (None, None)


async def test_a_target_that_ends_between_being_found_and_being_signalled(
    client: Client, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start finds the key taken, the run ends, and the signal finds nobody: once more."""
    first = await client.start(Checkout(order=1), key="k")
    async with await AsyncConnection.connect(dsn) as other:
        await other.execute("select pgflow.cancel_run(%s)", [first.id])  # holds the run
        signal = asyncio.create_task(client.signal("k", "paid", start=Checkout(order=2)))
        await asyncio.sleep(0.3)
        assert not signal.done()
        await other.commit()
    sent = await signal
    assert sent.run_id != first.id
    assert (await client.get("k")).state == {"order": 2}


async def test_w15_who_waits_is_woken_once_it_is_committed(
    client: Client, worker: Worker, dsn: str
) -> None:
    await client.start(Checkout(order=1), key="k")
    park(worker)
    with psycopg.connect(dsn, autocommit=True) as other:
        await asyncio.sleep(0.1)
        ears = Ears(other)
        async with await AsyncConnection.connect(dsn) as conn:
            await client.signal("k", "other")
            await client.signal("k", "paid", conn=conn)
            assert ears.heard() == []
            await conn.commit()
        assert ears.heard() == ["checkout"]


def test_the_blocking_client_signals_too(dsn: str) -> None:
    with Client.sync(dsn) as client, psycopg.connect(dsn) as conn:
        client.signal("k", "paid", 1, start=Checkout(order=1), conn=conn)
        conn.rollback()
        assert client.list() == []
        first = client.signal("k", "paid", 1, start=Checkout(order=1), dedup_key="a")
        again = client.signal("k", "paid", 1, dedup_key="a")
        assert (again.id, again.created) == (first.id, False)
        run = client.find("k")
        assert [s.payload for s in run.signals()] == [1]
        run.cancel()
        with pytest.raises(NoTarget):
            client.signal(run, "paid")
        flow = client.start(single(), 1)
        assert client.signal(flow, "anything").created
