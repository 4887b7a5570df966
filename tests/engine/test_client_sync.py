"""The client without an event loop: the same calls, the same answers."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from stepwell import (
    Client,
    Conflict,
    NotFound,
    PayloadError,
    Run,
    RunCancelled,
    RunFailed,
    RunTimeout,
    SchemaError,
    Settings,
    SyncClient,
)
from stepwell.client import wakes
from stepwell.client.sync.run import SyncRun

from .client_hands import Ears, Worker, single

orders = single()


@pytest.fixture
def client(dsn: str) -> Iterator[SyncClient]:
    with Client.sync(settings=Settings(dsn=dsn)) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn)


def public(cls: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(cls, callable)
        if not name.startswith("_") and name != "sync"
    }


def test_both_clients_have_the_same_calls() -> None:
    assert public(Client) == public(SyncClient)
    assert public(Run) == public(SyncRun)
    assert inspect.signature(Client) == inspect.signature(SyncClient)


def test_both_clients_are_made_in_the_same_ways(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with SyncClient(dsn) as by_address, SyncClient(settings=Settings(dsn=dsn)) as by_settings:
        run = by_address.start(orders, 1)
        assert by_settings.get(run.id).status == "started"
    monkeypatch.setenv("STEPWELL_DSN", dsn)
    with SyncClient() as found, SyncClient(dsn, settings=Settings(name="ada")) as named:
        assert named.run(run.id).cancel()
        assert found.audit(run.id)[0].actor == "ada"
    for kind in (Client, SyncClient):
        with pytest.raises(TypeError, match="write settings="):
            kind(Settings(dsn=dsn))  # pyright: ignore[reportArgumentType]


def test_start_and_result(client: SyncClient, worker: Worker) -> None:
    run = client.start(orders, 7, key="k")
    again = client.start(orders, 8, key="k")
    assert (run.created, again.created, run.id == again.id) == (True, False, True)
    with pytest.raises(RunTimeout, match=str(run.id)):
        run.result(0.05)
    worker.complete(0)
    assert run.result(5) == run.result(0) == {"ship": 0}
    assert run.wait().status == client.get(run.id).status == "completed"
    assert [step.output for step in run.steps()] == [0]
    client.start(orders, 7, key="k")
    with pytest.raises(Conflict):
        client.start(single("others"), 1, key="k")


def test_a_result_comes_once_the_run_has_ended(client: SyncClient, worker: Worker) -> None:
    run = client.start(orders, 1)
    timer = threading.Timer(0.3, worker.complete, ("done",))
    timer.start()
    assert run.result(10) == {"ship": "done"}
    timer.join()


def test_runs_that_did_not_complete(client: SyncClient, worker: Worker) -> None:
    run = client.start(orders, 1)
    worker.fail("no stock")
    with pytest.raises(RunFailed, match=f"run {run.id} failed at step 'ship': ValueError"):
        run.result(5)
    assert [a.attempt for a in run.attempts()] == [1]
    assert run.retry()
    assert run.cancel("a whim")
    assert not client.cancel(run.id)
    with pytest.raises(RunCancelled, match="a whim"):
        run.result(5)
    assert client.retry(run.id)
    for missing in (client.run(uuid4()), client.run(str(uuid4()))):
        with pytest.raises(NotFound):
            missing.result()
        with pytest.raises(NotFound):
            missing.retry()


def test_your_transaction_decides(client: SyncClient, dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        client.start(orders, 1, conn=conn)
        client.start_many(orders, range(1500), conn=conn)
        conn.rollback()
        assert client.list() == []
        run = client.start(orders, 1, conn=conn)
        conn.commit()
    assert [found.id for found in client.list(orders, "started")] == [run.id]
    wrong: Any = object()
    with pytest.raises(TypeError, match=r"Client\.sync wants a psycopg\.Connection"):
        client.start(orders, 1, conn=wrong)


def test_many_come_in_the_order_given(client: SyncClient) -> None:
    runs = client.start_many("orders" if client.list() else orders, range(1200))
    assert [r.id for r in client.list(limit=1200)] == [r.id for r in reversed(runs)]
    assert runs[1100].info().input == 1100


def test_what_no_list_has_is_refused_here_too(client: SyncClient, worker: Worker) -> None:
    with pytest.raises(PayloadError, match="limit is 0"):
        client.list(limit=0)
    with pytest.raises(PayloadError, match="no run has status 'done'"):
        client.list(status="done")  # pyright: ignore[reportArgumentType]
    run = client.start(orders, 1)
    for message in ("one", "two"):
        worker.fail(message)
        run.retry()
    assert [a.error_message for a in run.attempts(limit=1)] == ["one"]


def test_a_schema_of_somebody_else(empty_dsn: str) -> None:
    with psycopg.connect(empty_dsn) as conn, Client.sync(empty_dsn) as client:
        conn.execute("create schema pgflow; create table pgflow.flows ()")
        conn.commit()
        with pytest.raises(SchemaError, match="that Stepwell did not make"):
            client.list()
        with pytest.raises(SchemaError, match="run `stepwell migrate`"):  # nothing can be asked
            client.start("orders", 1, conn=conn)


def test_threads_share_a_client(
    client: SyncClient, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakes, "WINDOW", 5.0)  # the starts do not outlast many of them
    with psycopg.connect(dsn, autocommit=True) as conn, ThreadPoolExecutor(20) as threads:
        client.start(orders, 0)

        def begin(n: int) -> SyncRun[Any]:
            return client.start(orders, n, key=f"k{n % 50}")

        ears = Ears(conn)
        runs = list(threads.map(begin, range(200)))
        client.close()
        heard = ears.heard()
    assert sum(run.created for run in runs) == len({run.id for run in runs}) == 50
    assert set(heard) == {"orders"}
    assert len(heard) < 30
