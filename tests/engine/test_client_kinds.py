"""Machines and jobs as a client starts them, and what a start can be told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from stepwell import (
    Cancel,
    Client,
    ConcurrencyLimit,
    Conflict,
    DefinitionError,
    Done,
    Flow,
    Machine,
    MachineContext,
    NotFound,
    PayloadError,
    RateLimit,
    Run,
    RunCancelled,
    RunFailed,
    Snooze,
    job,
    key_by,
    step,
)
from stepwell.client.definition import output_type_of
from stepwell.db.commit import Entry
from stepwell.define.payload import encode

from .client_hands import Ears, Worker, single

orders = single()
reports = ConcurrencyLimit("reports", 5)
openai = RateLimit("openai", 60, burst=10)


class Checkout(Machine, queue="checkout"):
    order: int
    paid: bool = False

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Done:
        return Done()


@dataclass
class Letter:
    to: str


@job(queue="mail")
def send(user_id: int, note: str = "") -> Letter | Snooze | Cancel: ...


@job
async def tidy() -> None: ...


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn, "orders", "send", "tidy", "checkout")


def end(worker: Worker, word: str, move: dict[str, Any], reason: str | None = None) -> None:
    [task] = worker.claim()
    text = encode({"handed": [], **move}).decode()
    entry = Entry(task.message_id, task.claim_token, word, text, error_message=reason)
    worker.hands.commit([entry])


# --- kinds ---


async def test_a_machine_is_started_with_its_state(client: Client, worker: Worker) -> None:
    run = await client.start(Checkout(order=42), key="order:42")
    again = await client.start(Checkout(order=43), key="order:42")
    assert (again.id, again.created) == (run.id, False)
    info = await client.get("order:42")
    assert (info.kind, info.flow, info.state) == (
        "machine",
        "checkout",
        {"order": 42, "paid": False},
    )
    [where] = await run.steps()
    assert (where.step, where.status) == ("begin", "ready")
    end(worker, "done", {"state": {"order": 42, "paid": True}, "result": [1, None]})
    assert await run.result(5) == [1, None]
    info = await run.info()
    assert (info.state, info.input) == (
        {"order": 42, "paid": True},
        {"order": 42, "paid": False},
    )


async def test_a_machine_that_stops_is_a_failed_run(client: Client, worker: Worker) -> None:
    run = await client.start(Checkout(order=1))
    end(worker, "stop", {"state": {"order": 1}}, "payment never came")
    with pytest.raises(RunFailed, match="payment never came"):
        await run.result(5)


async def test_a_job_gives_its_result_as_its_type(client: Client, worker: Worker) -> None:
    run = await client.enqueue(send.call(user_id=7))
    worker.complete({"to": "ada"})
    assert await run.result(5) == Letter("ada")
    assert await client.run(run.id, send).result(5) == Letter("ada")
    assert await client.run(run.id).result(5) == {"to": "ada"}
    info = await run.info()
    assert (info.kind, info.flow, info.input) == ("job", "send", {"user_id": 7, "note": ""})


async def test_a_job_without_a_result_gives_none(client: Client, worker: Worker) -> None:
    run = await client.enqueue(tidy.call())
    worker.complete(None)
    assert await run.result(5) is None


async def test_a_cancelled_job_says_why(client: Client, worker: Worker) -> None:
    run = await client.start(send.call(7))
    end(worker, "cancelled", {}, "no such user")
    with pytest.raises(RunCancelled, match="no such user"):
        await run.result(5)


def test_an_outcome_is_no_result_of_a_job() -> None:
    @job
    def never() -> Snooze: ...

    @job
    def maybe() -> int | str | Cancel | None: ...

    assert output_type_of(send) is Letter
    assert output_type_of(maybe) == int | str | None
    assert output_type_of(never) is Any
    assert output_type_of(Checkout) is output_type_of("send") is output_type_of(None) is Any


async def test_a_call_of_a_flow_is_started_too(client: Client, worker: Worker) -> None:
    run = await client.start(orders.call(5))
    assert (await run.info()).input == 5
    worker.complete()
    assert await run.result(5) == {"ship": None}


async def test_every_kind_can_be_started_by_name(client: Client) -> None:
    for name in ("checkout", "send"):
        with pytest.raises(NotFound, match=f"'{name}' in this database"):
            await client.start(name, {})
    await client.enqueue_many([send.call(1), Checkout(order=1)])
    run = await client.start("checkout", {"order": 2})
    assert (await run.info()).state == {"order": 2}
    assert (await (await client.start("send", {"user_id": 2})).info()).kind == "job"


async def test_what_is_no_start_is_refused_in_words(client: Client) -> None:
    wrong: Any = send
    with pytest.raises(PayloadError, match="missing a required argument: 'user_id'"):
        await client.enqueue(wrong)
    with pytest.raises(DefinitionError, match=r"\.call\(\.\.\.\)"):
        await client.start(wrong)
    wrong = Checkout
    with pytest.raises(DefinitionError, match=r"give it its fields: Checkout\(\.\.\.\)"):
        await client.start(wrong)
    with pytest.raises(PayloadError, match="does not start 'checkout'"):
        await client.start_many(Checkout, [Checkout(order=1), {"order": 1}])
    untyped: Any = client
    with pytest.raises(TypeError, match="has its input already"):
        await untyped.start(tidy.call(), 5)
    with pytest.raises(DefinitionError, match=r"give it its input: \.call\(\.\.\.\)"):
        await untyped.start(tidy, {"input": 5})
    with pytest.raises(DefinitionError, match="no run can be started of None"):
        await untyped.start_flow(None, {})
    assert await client.list() == []


async def test_calls_of_several_jobs_come_in_the_order_given(client: Client) -> None:
    calls = [tidy.call() if n % 3 else send.call(n) for n in range(30)]
    keys = [f"k{n}" for n in range(30)]
    runs = await client.enqueue_many([*calls, Checkout(order=1)], keys=[*keys, None])
    infos = [await run.info() for run in runs]
    assert [info.flow for info in infos[:6]] == ["send", "tidy", "tidy", "send", "tidy", "tidy"]
    assert [info.key for info in infos] == [*keys, None]
    assert infos[27].input["user_id"] == 27
    assert infos[30].kind == "machine"
    assert all(run.created for run in runs)
    twice = await client.enqueue_many(calls, keys=keys)
    assert [run.id for run in twice] == [run.id for run in runs[:30]]
    assert not any(run.created for run in twice)
    assert await client.enqueue_many([]) == []


async def test_ten_thousand_jobs_are_one_call(client: Client) -> None:
    calls = [send.call(n) for n in range(10_000)]
    await client.enqueue(send.call(0))
    began = time.monotonic()
    runs = await client.enqueue_many(calls)
    took = time.monotonic() - began
    assert len({run.id for run in runs}) == 10_000
    some = [(await run.info()).input["user_id"] for run in runs[::1111]]
    assert some == list(range(0, 10_000, 1111))
    assert took < 5, took  # a third of a second on a machine that does nothing else


async def test_machines_of_one_class_are_started_together(client: Client) -> None:
    runs = await client.start_many(Checkout, [Checkout(order=n) for n in range(3)], priority=5)
    assert [(await run.info()).state["order"] for run in runs] == [0, 1, 2]
    assert [run.priority for run in [await run.info() for run in runs]] == [5, 5, 5]
    listed = await client.list(Checkout)
    assert [run.id for run in listed] == [run.id for run in reversed(runs)]
    await client.enqueue(tidy.call())
    assert [run.flow for run in await client.list(kind="job")] == ["tidy"]
    with pytest.raises(PayloadError, match="no run is of kind 'cron'"):
        await client.list(kind="cron")  # pyright: ignore[reportArgumentType]


# --- keys ---


async def test_a_key_is_free_again_as_it_was_asked_for(client: Client, worker: Worker) -> None:
    for unique, free in (("live", True), ("kept", False), (timedelta(days=1), False)):
        choice: Any = unique
        first = await client.enqueue(tidy.call(), key=f"{unique}", unique=choice)
        worker.complete()
        second = await client.enqueue(tidy.call(), key=f"{unique}", unique=choice)
        assert (second.created, second.id != first.id) == (free, free), unique
        await second.cancel()


async def test_a_key_that_was_kept_for_a_time_is_free_after_it(
    client: Client, worker: Worker
) -> None:
    brief = timedelta(milliseconds=50)
    first = await client.enqueue(tidy.call(), key="k", unique=brief)
    await asyncio.sleep(0.1)
    assert not (await client.enqueue(tidy.call(), key="k")).created  # it is live
    worker.complete()
    assert (await client.enqueue(tidy.call(), key="k")).created
    assert (await first.info()).status == "completed"


async def test_another_input_under_the_same_key(client: Client) -> None:
    run = await client.enqueue(send.call(1), key="k", check_input=True)
    assert (await client.enqueue(send.call(1), key="k", check_input=True)).id == run.id
    assert (await client.enqueue(send.call(2), key="k")).id == run.id
    with pytest.raises(Conflict, match="another input"):
        await client.enqueue(send.call(2), key="k", check_input=True)


async def test_a_key_finds_the_run_that_has_it_or_had_it(client: Client, worker: Worker) -> None:
    first = await client.enqueue(tidy.call(), key="k")
    worker.complete()
    assert (await client.find("k")).id == first.id
    second = await client.enqueue(tidy.call(), key="k")
    assert (await client.find("k")).id == (await client.get("k")).id == second.id
    assert (await client.find(first)).id == first.id
    with pytest.raises(NotFound, match="no run in this database has or had the key 'gone'"):
        await client.get("gone")
    with pytest.raises(NotFound, match="no run"):
        await client.get(str(uuid4()))
    with pytest.raises(ValueError, match="find"):
        client.run("k")


# --- options ---


async def test_a_start_is_told_when_and_where(client: Client, worker: Worker, dsn: str) -> None:
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    told: list[dict[str, Any]] = [
        {"delay": 3600},
        {"delay": timedelta(hours=1)},
        {"at": later},
        {"queue": "slow", "priority": -3, "concurrency": "order:42"},
        {"fairness_key": "acme", "fairness_weight": 2},
    ]
    starts: list[Any] = [send.call(1), Checkout(order=1), orders.call(1)]
    for start in starts:
        is_flow = start is starts[2]
        told[3] = {"priority": -3} if is_flow else told[3]
        runs: list[Run[Any]] = [await client.start(start, **choices) for choices in told]
        rows = worker.hands.rows(
            "select run_id, stage, ready_at, queue, priority, concurrency_key, fairness_key"
            " from pgflow.step_tasks where run_id = any (%s)",
            [run.id for run in runs],
        )
        found = {row[0]: row[1:] for row in rows}
        for run in runs[:3]:
            assert found[run.id][0] == "delayed"
            assert abs(found[run.id][1] - later) < timedelta(minutes=1)
        assert found[runs[3].id][0] == "ready"
        if not is_flow:
            assert found[runs[3].id][2:5] == ("slow", -3, "key/order:42")
        assert found[runs[4].id][5] == "acme"


async def test_a_limit_is_named_or_found_in_the_input(client: Client, worker: Worker) -> None:
    with pytest.raises(DefinitionError, match="no concurrency limit 'reports' in this database"):
        await client.enqueue(send.call(1), concurrency=reports)
    worker.hands.conn.execute(
        "insert into pgflow.limits (kind, name, capacity, per_second)"
        " values ('concurrency', 'reports', 5, null), ('rate', 'openai', 10, 60)"
    )
    runs = [
        await client.enqueue(send.call(7), concurrency=reports, rate_limit=openai),
        await client.enqueue(
            send.call(7), concurrency=reports.of("a"), rate_limit=openai.of("b", weight=2)
        ),
        *await client.enqueue_many(
            [send.call(1), send.call(2)],
            concurrency=key_by("user_id"),
            rate_limit=openai.by("user_id"),
        ),
    ]
    rows = worker.hands.rows(
        "select t.concurrency_key, t.rate_limit, t.weight from unnest(%s) with ordinality r (id, n)"
        " join pgflow.step_tasks t on t.run_id = r.id order by n",
        [run.id for run in runs],
    )
    assert rows == [
        ("limit/reports/", "openai/", 1),
        ("limit/reports/a", "openai/b", 2),
        ("key/1", "openai/1", 1),
        ("key/2", "openai/2", 1),
    ]
    with pytest.raises(DefinitionError, match="above its burst"):
        await client.enqueue(send.call(1), rate_limit=openai.of("a", weight=11))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"at": datetime(2030, 1, 1)}, "no time zone"),
        ({"at": "tomorrow"}, "must be a datetime"),
        ({"at": datetime.now(UTC), "delay": 1}, "both delay and at"),
        ({"delay": -1}, "delay is -1"),
        ({"priority": 40_000}, "priority is 40000"),
        ({"priority": True}, "priority is True"),
        ({"queue": " "}, "queue is ' '"),
        ({"fairness_weight": 0}, "fairness_weight is 0"),
        ({"fairness_weight": float("nan")}, "fairness_weight is nan"),
        ({"unique": "always"}, "unique is 'always'"),
        ({"unique": timedelta(0)}, "unique is"),
        ({"concurrency": 5}, "concurrency is 5"),
        ({"rate_limit": "openai"}, "rate_limit is 'openai'"),
    ],
)
async def test_what_no_start_can_be_told(
    client: Client, choices: dict[str, Any], said: str
) -> None:
    with pytest.raises(PayloadError, match=said):
        await client.enqueue(tidy.call(), **choices)


@pytest.mark.parametrize("name", ["queue", "concurrency", "rate_limit"])
async def test_what_the_steps_of_a_flow_say_no_start_says(client: Client, name: str) -> None:
    choice: Any = {name: openai if name == "rate_limit" else "slow"}
    with pytest.raises(PayloadError, match=f"{name} is for machines and jobs; flow 'orders'"):
        await client.start(orders, 1, **choice)


async def test_a_misspelt_choice_is_no_choice(client: Client) -> None:
    wrong: Any = {"prioritty": 1}
    with pytest.raises(TypeError, match=r"no argument 'prioritty' \(did you mean 'priority'\?\)"):
        await client.start(tidy.call(), **wrong)
    with pytest.raises(TypeError, match="no argument 'key'"):
        wrong = {"key": "k"}
        await client.enqueue_many([tidy.call()], **wrong)


async def test_workers_of_the_queue_that_was_named_hear_of_it(client: Client, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        await client.enqueue(tidy.call())
        await asyncio.sleep(0.1)
        ears = Ears(conn)
        await client.enqueue(tidy.call(), queue="slow")
        assert ears.heard() == ["slow"]
        await client.enqueue_many([tidy.call(), send.call(1)], delay=60)
        await client.close()
        assert set(ears.heard()) == {"tidy", "mail"}


async def test_a_database_made_anew_is_noticed_for_all(client: Client, dsn: str) -> None:
    await client.enqueue_many([tidy.call(), send.call(1)])
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute("truncate pgflow.deps, pgflow.steps, pgflow.versions, pgflow.flows")
    runs = await client.enqueue_many([tidy.call(), send.call(1)])
    assert all(run.created for run in runs)


def test_a_flow_that_grows_is_a_new_version(dsn: str) -> None:
    flow = Flow[int, Any]("grows")

    @flow.step
    def one(flow_input: int) -> int: ...

    with Client.sync(dsn) as client:
        first = client.start(flow, 1)

        @flow.step
        def two(one: int) -> int: ...

        assert [step.step for step in client.start(flow, 1).steps()] == [one.slug, two.slug]
        assert len(first.steps()) == 1
