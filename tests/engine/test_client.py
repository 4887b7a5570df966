"""What a client starts, and what it refuses to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection

from stepwell import Client, Conflict, Flow, NotFound, PayloadError, SchemaError, SettingsError
from stepwell.client import wakes
from stepwell.define.ids import new_run_id

from .client_hands import Ears, Worker, single

orders = single()
others = single("others")


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn)


async def count(client: Client) -> int:
    return len(await client.list(limit=10_000))


async def test_a_key_starts_one_run(client: Client, dsn: str, worker: Worker) -> None:
    first = await client.start(orders, 1, key="k")
    second = await client.start(orders, 2, key="k")
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id
    assert (await first.info()).input == 1
    worker.complete()
    async with Client(dsn) as another:  # it is free once the run has ended
        third = await another.start(orders, 3, key="k")
    assert third.created
    assert (await client.get("k")).id == third.id


async def test_a_key_raced_for_starts_one_run(client: Client) -> None:
    runs = await asyncio.gather(*(client.start(orders, n, key="k") for n in range(50)))
    assert len({run.id for run in runs}) == 1
    assert sum(run.created for run in runs) == 1


async def test_a_key_of_another_flow_is_a_conflict(client: Client) -> None:
    run = await client.start(orders, 1, key="k")
    with pytest.raises(Conflict, match=f"key 'k' belongs to run {run.id} of flow 'orders'"):
        await client.start(others, 1, key="k")
    with pytest.raises(Conflict, match=f"run id {run.id} belongs to a run of flow 'orders'"):
        await client.start(others, 1, run_id=run.id)
    assert await count(client) == 1


async def test_a_run_id_starts_one_run(client: Client) -> None:
    run_id = uuid4()
    first = await client.start(orders, 1, run_id=run_id)
    second = await client.start(orders, 1, run_id=run_id)
    assert (first.id, first.created, second.id, second.created) == (run_id, True, run_id, False)


async def test_your_transaction_decides(client: Client, dsn: str) -> None:
    async with await AsyncConnection.connect(dsn) as conn:
        run = await client.start(orders, 1, key="k", conn=conn)
        many = await client.start_many(orders, range(2500), conn=conn)
        await conn.rollback()
        for each in (run, many[0], many[-1]):
            with pytest.raises(NotFound, match="once your transaction commits"):
                await each.result(5)
        assert await count(client) == 0
        run = await client.start(orders, 1, key="k", conn=conn)
        assert run.created
        await conn.commit()
    assert (await run.info()).status == "started"


async def test_your_transaction_goes_on_after_a_start(client: Client, dsn: str) -> None:
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        with suppress(ZeroDivisionError):
            async with conn.transaction():
                await client.start_many(orders, range(1500), conn=conn)
                raise ZeroDivisionError
        assert await count(client) == 0
        await client.start_many(orders, range(1500), conn=conn)  # a transaction of its own
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert await count(client) == 1500


async def test_w15_workers_hear_of_a_start_once_it_is_committed(
    client: Client, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakes, "WINDOW", 5.0)  # the starts do not outlast many of them
    flow = single("orders", queue="parcels")
    with psycopg.connect(dsn, autocommit=True) as other:
        ears = Ears(other)
        async with await AsyncConnection.connect(dsn) as conn:
            await client.start(flow, 1, conn=conn)
            assert ears.heard() == []
            await conn.commit()
        assert ears.heard() == ["parcels"]
        for n in range(100):
            await client.start(flow, n)
        await client.close()
        heard = ears.heard()
        assert set(heard) == {"parcels"}
        assert 2 <= len(heard) <= 50  # far fewer than starts


async def test_a_sync_connection_is_refused_in_words(client: Client, dsn: str) -> None:
    with psycopg.connect(dsn) as conn, pytest.raises(TypeError, match=r"Client\.sync"):
        wrong: Any = conn
        await client.start(orders, 1, conn=wrong)


async def test_many_come_in_the_order_given(client: Client) -> None:
    keys = [f"k{n % 1500}" for n in range(2500)]  # over two chunks, the last 1,000 twice
    runs = await client.start_many(orders, range(2500), keys=keys)
    assert [run.created for run in runs] == [True] * 1500 + [False] * 1000
    assert [run.id for run in runs[1500:]] == [run.id for run in runs[:1000]]
    assert (await runs[1234].info()).input == 1234
    assert (await runs[2234].info()).input == 734
    listed = [run.id for run in await client.list(limit=1500)]
    assert listed == [run.id for run in reversed(runs[:1500])]


async def test_the_same_key_twice_in_one_chunk(client: Client) -> None:
    a, b, c = await client.start_many(orders, [1, 2, 3], keys=["k", None, "k"])
    assert (a.id, a.created, b.created, c.created) == (c.id, True, True, False)


async def test_many_or_none(client: Client) -> None:
    await client.start(others, 1, key="k1200")
    with pytest.raises(Conflict):
        await client.start_many(orders, range(1300), keys=[f"k{n}" for n in range(1300)])
    assert await count(client) == 1
    assert await client.start_many(orders, []) == []
    with pytest.raises(ValueError, match="2 inputs and 1 keys"):
        await client.start_many(orders, [1, 2], keys=["k"])


@dataclass
class Article:
    url: str
    words: int = 0


typed = Flow[Article, Any]("typed")


@typed.step
def read(flow_input: Article) -> str: ...


mapped = Flow[list[int], Any]("mapped")


@mapped.map
def each(n: int) -> int: ...


async def test_an_input_is_of_its_type(client: Client) -> None:
    run = await client.start(typed, Article("a", 2))
    assert (await client.get(run.id)).input == {"url": "a", "words": 2}
    wrong: Any = {"uri": "a"}
    with pytest.raises(PayloadError, match=r"input of flow 'typed': .*Article.*url"):
        await client.start(typed, wrong)
    with pytest.raises(PayloadError, match="input 1: input of flow 'typed'"):
        await client.start_many(typed, [Article("a"), wrong])
    unwritable: Any = {"a": object()}
    with pytest.raises(PayloadError, match=r"\$\.a"):
        await client.start("typed", unwritable)
    assert await count(client) == 1


async def test_a_map_over_the_input_wants_a_list(client: Client) -> None:
    anything = Flow[Any, Any]("anything")
    anything.map(slug="one")(each.handler)
    with pytest.raises(PayloadError, match="is not a list, and the flow maps over it"):
        await client.start(anything, {"n": 1})
    nothing: list[int] = []
    run = await client.start(mapped, nothing)
    assert await run.result(5) == {"each": []}


@pytest.mark.parametrize("key", ["", "a\0b", "a\ud800b"])
async def test_what_cannot_be_a_key(client: Client, key: str) -> None:
    with pytest.raises(PayloadError, match="cannot be a key"):
        await client.start(orders, 1, key=key)


async def test_a_key_is_short_enough_for_an_index(client: Client) -> None:
    longest = "☃" * 512
    run = await client.start(orders, 1, key=longest)
    assert (await run.info()).key == longest
    with pytest.raises(PayloadError, match=r"at most 512 characters; '☃+'… has 513"):
        await client.start(orders, 1, key=longest + "!")


@pytest.mark.parametrize("limit", [0, -1, 10_001, 2**40, 1.5])
async def test_a_limit_that_no_list_has_is_refused(client: Client, limit: Any) -> None:
    with pytest.raises(PayloadError, match=f"limit is {limit}; .* from 1 to 10000"):
        await client.list(limit=limit)


async def test_a_status_that_no_run_has_is_refused(client: Client) -> None:
    with pytest.raises(PayloadError, match="no run has status 'running'; it is one of started, "):
        await client.list(status="running")  # pyright: ignore[reportArgumentType]


async def test_attempts_are_the_first_so_many(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1)
    for message in ("one", "two", "three"):
        worker.fail(message)
        await client.retry(run.id)
    assert [a.error_message for a in await run.attempts(limit=2)] == ["one", "two"]
    assert len(await run.attempts()) == 3
    with pytest.raises(PayloadError, match="limit is 0"):
        await run.attempts(limit=0)


async def test_a_name_starts_the_current_version(client: Client, worker: Worker) -> None:
    with pytest.raises(NotFound, match=r"job 'orders' in this database\. Start a worker"):
        await client.start("orders", 1)
    await client.start(orders, 1)
    newer = single()

    @newer.step
    def bill(ship: object) -> None: ...

    second = await client.start(newer, 1)  # its own version, which does not become current
    third = await client.start("orders", 1)
    assert [(await run.info()).version for run in (second, third)] == [2, 1]
    assert [step.step for step in await second.steps()] == ["ship", "bill"]
    assert bill.slug == "bill"


async def test_a_database_made_anew_is_noticed(client: Client, dsn: str) -> None:
    await client.start(orders, 1)
    async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("truncate pgflow.deps, pgflow.steps, pgflow.versions, pgflow.flows")
    run = await client.start(orders, 2)
    assert len(await run.steps()) == 1


async def test_a_run_can_be_found_again(client: Client) -> None:
    run = await client.start(orders, 7, key="k")
    info = await client.get(str(run.id))
    assert (info.id, info.flow, info.key, info.status, info.input) == (
        run.id,
        "orders",
        "k",
        "started",
        7,
    )
    with pytest.raises(NotFound, match="no run"):
        await client.get(uuid4())
    with pytest.raises(NotFound):
        await client.run(uuid4()).steps()
    with pytest.raises(ValueError, match="'x' is no run id"):
        client.run("x")
    await client.start(others, 1)
    assert [r.id for r in await client.list(orders)] == [run.id]
    assert [r.flow for r in await client.list(status="started", limit=1)] == ["others"]
    assert await client.list(before=run.id) == []


async def test_cancel_and_retry(client: Client, worker: Worker) -> None:
    run = await client.start(orders, 1)
    assert not await run.retry()
    assert await run.cancel("no longer wanted")
    assert not await client.cancel(run.id)
    assert (await run.info()).error_message == "no longer wanted"
    assert await client.retry(run.id)
    worker.fail("boom")
    [attempt] = await run.attempts()
    assert (attempt.step, attempt.error_type, attempt.error_message) == (
        "ship",
        "ValueError",
        "boom",
    )
    with pytest.raises(NotFound):
        await client.cancel(uuid4())
    with pytest.raises(NotFound):
        await client.retry(uuid4())


async def test_a_client_can_be_used_without_opening_it(dsn: str) -> None:
    client = Client(dsn)
    run = await client.start(orders, 1)
    await client.close()
    assert (await client.get(run.id)).status == "started"  # it opens again
    await client.close()


def test_a_client_outlives_its_event_loop(dsn: str) -> None:
    client = Client(dsn)

    async def use() -> UUID:
        run = await client.start(orders, 1)
        with pytest.raises(TimeoutError):
            await run.result(0.05)
        return run.id

    ids = {asyncio.run(use()) for _ in range(3)}
    assert len(ids) == 3
    asyncio.run(client.close())


async def test_a_database_without_the_schema(empty_dsn: str) -> None:
    async with Client(empty_dsn) as client:
        with pytest.raises(SchemaError, match="stepwell migrate"):
            await client.start(orders, 1)
        with pytest.raises(SchemaError, match="stepwell migrate"):
            await client.run(uuid4()).result(5)


def test_a_dsn_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(SettingsError, match="no connection string") as refusal:
        Client("postgre://ada:hidden@db/shop")
    assert "hidden" not in str(refusal.value)


def test_run_ids_grow() -> None:
    ids = [new_run_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {(run_id.version, run_id.variant) for run_id in ids} == {
        (7, "specified in RFC 4122"),
    }
