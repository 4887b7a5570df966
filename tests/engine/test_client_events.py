"""Streams of events: from now on, in order, to the end of the run, through outages and for any
number of readers."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell import (
    Client,
    EventsMissed,
    Flow,
    NotFound,
    RunEvent,
    Settings,
    Stepwell,
    StepwellError,
)
from stepwell.client import feed, settling
from stepwell.client.run import Run
from stepwell.client.sync import stream as sync_stream
from stepwell.testing import Kit
from tests.db.hands import Connection
from tests.engine.client_hands import Worker, single
from tests.engine.test_client_outage import Switch
from tests.engine.workshop import workshop_on
from tests.servers import DatabaseServer

pytestmark = pytest.mark.timeout(120)
PATIENCE = 30.0
ALL = ["run:started", "step:ship:started", "step:ship:completed", "run:completed"]
LISTENERS: LiteralString = "select count(*) from pgflow.listeners"
LAPSE: LiteralString = "update pgflow.listeners set until = pgflow.now() - interval '1 second'"
GONE: LiteralString = (
    "select pg_terminate_backend(pid) from pg_stat_activity"
    " where application_name = 'stepwell client' and datname = current_database()"
)


@pytest.fixture
def conn(dsn: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


async def start(client: Client, key: str | None = None) -> Run[Any]:
    return await client.start(single(), 1, key=key)


def count(conn: Connection, query: LiteralString) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


async def until(conn: Connection, query: LiteralString, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while count(conn, query) != wanted:
            await asyncio.sleep(0.02)


async def test_a_stream_tells_what_happens_and_ends_with_its_run(
    client: Client, conn: Connection
) -> None:
    run = await start(client)
    async with run.events() as events:
        Worker(conn).complete({"ok": True})
        told = [event async for event in events]
    assert [event.name for event in told] == ALL[2:]
    step, end = told
    assert (step.step, step.status, step.output, step.ended) == (
        "ship",
        "completed",
        {"ok": True},
        False,
    )
    assert (end.step, end.status, end.output, end.ended) == (
        None,
        "completed",
        {"ship": {"ok": True}},
        True,
    )
    assert {event.run_id for event in told} == {run.id}
    await until(conn, LISTENERS, 0)


async def test_of_a_run_that_has_ended_the_last_event_alone(
    client: Client, conn: Connection
) -> None:
    run = await start(client)
    Worker(conn).fail("boom")
    [event] = [event async for event in run.events()]
    assert (event.name, event.error_message) == ("run:failed", "boom")
    assert count(conn, LISTENERS) == 0


async def test_a_key_names_its_run_and_a_run_that_is_none_is_not_found(
    client: Client, conn: Connection
) -> None:
    await start(client, key="order:1")
    async with client.events("order:1") as events:
        await client.cancel("order:1", "too late")
        assert [(e.name, e.error_message) async for e in events] == [("run:cancelled", "too late")]
    for missing in (uuid4(), "order:2"):
        with pytest.raises(NotFound):
            await anext(client.events(missing))
    await until(conn, LISTENERS, 0)


async def test_any_number_of_streams_get_the_same(client: Client, conn: Connection) -> None:
    run = await start(client)
    async with run.events() as first, run.events() as second, client.events(run) as third:
        Worker(conn).complete()
        for events in (first, second, third):
            assert [event.name async for event in events] == ALL[2:]


async def test_the_events_of_all_runs_and_kinds(client: Client, conn: Connection) -> None:
    async with client.all_events() as events:
        ours = await start(client)
        theirs = await start(client)
        Worker(conn).complete()
        told = defaultdict[UUID, list[str]](list)
        async for event in events:
            told[event.run_id].append(event.name)
            if len(told) == 2 and all(names[-1:] == ALL[-1:] for names in told.values()):
                break
    assert dict(told) == {ours.id: ALL, theirs.id: ALL}
    await until(conn, LISTENERS, 0)


async def test_who_walks_away_is_forgotten(client: Client, conn: Connection) -> None:
    run = await start(client)
    listening = asyncio.create_task(anext(run.events()))
    await until(conn, LISTENERS, 1)
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    del listening
    gc.collect()
    await until(conn, LISTENERS, 0)


async def test_nobody_asks_when_there_is_no_stream(client: Client, conn: Connection) -> None:
    run = await start(client)
    async with run.events():
        assert [t for t in asyncio.all_tasks() if t.get_name() == "stepwell events"]
    async with asyncio.timeout(PATIENCE):
        while [t for t in asyncio.all_tasks() if t.get_name() == "stepwell events"]:
            await asyncio.sleep(0.02)
    assert count(conn, LISTENERS) == 0


async def test_a_broken_connection_is_opened_again_and_nothing_is_missed(
    client: Client, conn: Connection
) -> None:
    run = await start(client)
    async with client.all_events() as everything, run.events() as events:
        conn.execute(GONE)
        Worker(conn).complete()
        conn.execute(GONE)
        assert [event.name async for event in events] == ALL[2:]
        assert [(await anext(everything)).name for _ in range(2)] == ALL[2:]


async def test_who_listens_sits_an_outage_out(
    dsn: str, server: DatabaseServer, conn: Connection
) -> None:
    async with Client(settings=Settings(dsn=dsn, connect_timeout=0.2)) as client:
        run = await start(client)
        async with client.all_events() as everything, run.events() as events:
            with Switch(server, dsn).outage():
                await asyncio.sleep(1)
            with psycopg.connect(dsn, autocommit=True) as again:
                Worker(again).complete()
            assert [event.name async for event in events] == ALL[2:]
            assert [(await anext(everything)).name for _ in range(2)] == ALL[2:]


async def test_a_clock_that_a_test_moves_does_not_end_a_lease() -> None:
    flow = Flow[int, Any]("later", base_delay=0)

    @flow.step
    def done(flow_input: int) -> int:
        return flow_input

    async with Kit(Stepwell(flows=[flow])) as kit:
        run = await kit.client.start(flow, 1, delay=timedelta(days=30))
        async with run.events() as events:
            await kit.advance(days=31)
            assert [event.name async for event in events][-1] == "run:completed"


async def test_who_listens_on_a_client_that_is_closed_hears_of_it(
    dsn: str, conn: Connection
) -> None:
    client = Client(dsn)
    events = (await start(client)).events()
    listening = asyncio.create_task(anext(events))
    await until(conn, LISTENERS, 1)
    await client.close()
    with pytest.raises(StepwellError, match="closed while events were read"):
        await listening
    assert count(conn, LISTENERS) == 0


async def test_a_lease_that_lapsed_is_begun_anew_for_a_run_and_told_of_all_runs(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await start(client)
    async with client.all_events() as everything, run.events() as events:
        conn.execute(LAPSE)
        Worker(conn).complete()
        monkeypatch.setattr(feed, "RENEWED", 0.0)
        assert [event.name async for event in events] == ["run:completed"]
        with pytest.raises(EventsMissed, match="begin a new stream"):
            await anext(everything)


async def test_a_run_that_was_deleted_meanwhile_harms_no_other_stream(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, stays = await start(client), await start(client)
    async with gone.events() as none, stays.events() as events:
        conn.execute(LAPSE)
        await gone.cancel()
        await gone.delete()
        monkeypatch.setattr(feed, "RENEWED", 0.0)
        with pytest.raises(NotFound):
            await anext(none)
        await until(conn, LISTENERS + " where until > now()", 1)
        Worker(conn).complete()
        assert [event.name async for event in events] == ALL[2:]


async def test_who_listens_to_all_begins_when_what_could_not_know_of_it_has_ended(
    client: Client, dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SETTLING", PATIENCE)
    run = await start(client)
    with psycopg.connect(dsn) as other:  # a transaction until it is committed
        Worker(other).complete()
        events = client.all_events()
        entering = asyncio.create_task(events.__aenter__())
        await until(conn, LISTENERS, 1)
        await asyncio.sleep(0.1)
        assert not entering.done()
        other.commit()
    await entering
    assert (await client.get(run)).status == "completed"
    await events.aclose()


async def test_a_lease_is_renewed_while_nothing_happens(
    client: Client, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RENEWED", 0.0)
    run = await start(client)
    async with run.events() as events:
        conn.execute("update pgflow.listeners set until = pgflow.now() + interval '100 seconds'")
        await until(
            conn,
            "select count(*) from pgflow.listeners"
            " where until > pgflow.now() + interval '200 seconds'",
            1,
        )
        Worker(conn).complete()
        assert [event.name async for event in events] == ALL[2:]


async def test_many_runs_of_many_workers_each_event_once_and_in_order(dsn: str) -> None:
    """Commits of four connections meet; ids are given before they are seen."""
    flow = Flow[int, Any]("many", base_delay=0)

    @flow.step
    def one(flow_input: int) -> int:
        return flow_input

    @flow.step
    def two(one: int) -> int:
        return one

    runs = 300
    alone = [f"step:{step}:{word}" for step in ("one", "two") for word in ("started", "completed")]
    async with workshop_on(dsn) as workshop:
        async with (
            workshop.client.all_events() as events,
            workshop.worker(flow, concurrency=20),
            workshop.worker(flow, concurrency=20),
        ):
            starting = asyncio.create_task(workshop.client.start_many(flow, list(range(runs))))
            told = defaultdict[UUID, list[str]](list)
            ended = 0
            async with asyncio.timeout(90):
                async for event in events:
                    told[event.run_id].append(event.name)
                    ended += event.ended
                    if ended == runs:
                        break
            started = await starting
        assert set(told) == {run.id for run in started}
        assert {tuple(names) for names in told.values()} == {
            ("run:started", *alone, "run:completed")
        }


async def test_a_worker_forgets_what_is_old(dsn: str) -> None:
    async with workshop_on(dsn) as workshop:
        workshop.rows(
            "insert into pgflow.events (run_id, event, payload, at)"
            " values (gen_random_uuid(), 'run:started', '{}', now() - interval '1 hour')"
        )
        async with workshop.worker(single()):
            await workshop.until(
                "select 1 where not exists (select from pgflow.events)", patience=PATIENCE
            )


def test_the_blocking_client_tells_the_same(dsn: str, conn: Connection) -> None:
    with Client.sync(dsn) as client:
        run = client.start(single(), 1, key="order:1")
        with run.events() as events, client.events("order:1") as same:
            Worker(conn).complete()
            assert [event.name for event in events] == ALL[2:]
            assert [event.name for event in same] == ALL[2:]
        assert [event.name for event in client.events(run)] == ALL[3:]
        with pytest.raises(NotFound):
            next(client.events("order:2"))
        with client.all_events() as everything:
            again = client.start(single(), 1)
            assert [(next(everything).run_id, next(everything).name)] == [(again.id, ALL[1])]
    assert count(conn, LISTENERS) == 0


def test_the_blocking_client_goes_on_after_a_broken_connection_and_a_lapsed_lease(
    dsn: str, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client.sync(dsn) as client:
        run = client.start(single(), 1)
        other = client.start(single(), 1)
        with run.events() as events, other.events() as late, client.all_events() as everything:
            told = list[RunEvent]()
            reading = threading.Thread(target=lambda: told.extend(events))
            reading.start()
            conn.execute(GONE)
            Worker(conn).complete(want=1)
            reading.join(PATIENCE)
            assert [event.name for event in told] == ALL[2:]
            conn.execute(LAPSE)
            Worker(conn).complete()
            monkeypatch.setattr(sync_stream, "RENEWED", 0.0)
            assert [event.name for event in late] == ["run:completed"]
            with pytest.raises(EventsMissed):
                list(everything)
