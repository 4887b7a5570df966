"""Machines and jobs as a client starts them."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from stepwell import (
    Cancel,
    Client,
    DefinitionError,
    Flow,
    NotFound,
    PayloadError,
    RunCancelled,
    RunFailed,
    Snooze,
    job,
)
from stepwell.client.definition import output_type_of
from stepwell.db.commit import Entry
from stepwell.define.payload import encode

from .client_hands import Worker
from .kind_hands import Checkout, Letter, orders, send, tidy
from .kind_hands import client as client
from .kind_hands import worker as worker


def end(worker: Worker, word: str, move: dict[str, Any], reason: str | None = None) -> None:
    [task] = worker.claim()
    text = encode({"handed": [], **move}).decode()
    entry = Entry(task.message_id, task.claim_token, word, text, error_message=reason)
    worker.hands.commit([entry])


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
