"""A worker whose database goes away, falls silent, or says that this is not the moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stepwell import DatabaseUnavailable, Flow, Settings, Worker
from stepwell.db.link import Link, Outage
from stepwell.observe.emit import subscribed
from stepwell.observe.events import (
    CommitFailed,
    DatabaseBack,
    DatabaseLost,
    OutcomeDropped,
    WorkerLapsed,
    WorkerStarted,
)
from stepwell.worker import turns
from tests.chaos.proxy import proxied

from .workshop import Events, Workshop


def diamond(bodies: Counter[tuple[str, int]]) -> Flow[int, Any]:
    flow = Flow[int, Any]("diamond")

    @flow.step
    async def split(flow_input: int) -> list[int]:
        bodies["split", flow_input] += 1
        return [flow_input, flow_input + 1]

    @flow.map(over=split)
    async def double(element: int) -> int:
        await asyncio.sleep(0.001)
        return 2 * element

    @flow.step
    def half(split: list[int], flow_input: int) -> int:
        bodies["half", flow_input] += 1
        return split[0]

    @flow.step
    async def join(double: list[int], half: int, flow_input: int) -> int:
        bodies["join", flow_input] += 1
        return sum(double) + half

    return flow


def expected(number: int) -> dict[str, int]:
    return {"join": 2 * number + 2 * (number + 1) + number}


async def test_lost_answers_lose_no_outcome_and_repeat_no_body(workshop: Workshop) -> None:
    bodies = Counter[tuple[str, int]]()
    flow = diamond(bodies)
    chance = random.Random(7)
    async with proxied(workshop.dsn) as proxy:
        proxy.cut = lambda statement: "commit_and_claim" in statement and chance.random() < 0.2
        async with workshop.worker(flow, dsn=proxy.dsn, lease=30.0) as serving:
            runs = await workshop.client.start_many(flow, range(100))
            for number, run in enumerate(runs):
                assert await run.result(45) == expected(number)
            assert proxy.cuts > 5
            assert serving.events.of(CommitFailed) == []
        print(f"{proxy.cuts} answers lost")
    assert set(bodies.values()) == {1}
    assert len(bodies) == 300
    assert workshop.rows("select * from pgflow.attempts") == []


async def test_terminated_connections_come_back(workshop: Workshop) -> None:
    bodies = Counter[tuple[str, int]]()
    flow = diamond(bodies)
    async with workshop.worker(flow, lease=30.0) as serving:
        runs = await workshop.client.start_many(flow, range(200))
        for _ in range(8):
            await asyncio.sleep(0.1)
            workshop.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        for number, run in enumerate(runs):
            assert await run.result(45) == expected(number)
        await serving.events.first(DatabaseLost)
    assert set(bodies.values()) == {1}


async def test_a_server_that_became_read_only_is_left_for_the_primary(workshop: Workshop) -> None:
    flow = diamond(Counter())
    database = sql.Identifier(str(conninfo_to_dict(workshop.dsn)["dbname"]))
    with psycopg.connect(workshop.dsn, autocommit=True) as admin:
        change = sql.SQL("alter database {} set default_transaction_read_only = {}")
        async with proxied(workshop.dsn) as proxy:
            async with workshop.worker(flow, dsn=proxy.dsn, lease=4.0, poll=0.2) as serving:
                admin.execute(change.format(database, sql.SQL("on")))
                proxy.cut_all()
                await serving.events.first(DatabaseLost)
                await asyncio.sleep(1)
                admin.execute(change.format(database, sql.SQL("off")))
                await serving.events.first(DatabaseBack)
                runs = await workshop.client.start_many(flow, range(5))
                for number, run in enumerate(runs):
                    assert await run.result(10) == expected(number)
                assert not serving.task.done()


async def test_a_full_disk_is_waited_out(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 1)
    bodies = Counter[tuple[str, int]]()
    flow = diamond(bodies)
    workshop.rows(
        "create sequence public.writes;"
        " create function pgflow.full_disk() returns trigger language plpgsql as $$ begin"
        " if nextval('public.writes') <= 4 then raise 'disk full' using errcode = '53100'; end if;"
        " return new; end $$;"
        " create trigger full_disk before update on pgflow.step_tasks for each row"
        " when (new.status = 'completed') execute function pgflow.full_disk()"
    )
    async with workshop.worker(flow) as serving:
        run = await workshop.client.start(flow, 1)
        assert await run.result(10) == expected(1)
        assert serving.events.of(CommitFailed) == []
    assert set(bodies.values()) == {1}


async def test_a_worker_that_lost_its_lease_begins_anew(workshop: Workshop) -> None:
    flow = Flow[int, Any]("lapse")
    attempts: list[int] = []

    @flow.step
    async def work(flow_input: int) -> int:
        attempts.append(flow_input)
        try:
            await asyncio.sleep(30 if len(attempts) == 1 else 0)
        except asyncio.CancelledError:
            return -1
        return len(attempts)

    async with workshop.worker(flow, lease=6.0) as serving:
        run = await workshop.client.start(flow, 1)
        while not attempts:
            await asyncio.sleep(0.01)
        workshop.rows(  # in one transaction: no heartbeat comes in between
            "update pgflow.workers set last_heartbeat_at = now() - interval '1 hour';"
            " do $$ begin perform pgflow.reclaim_tasks(); end $$"
        )
        assert (await run.result(15))["work"] >= 2
        await serving.events.first(OutcomeDropped)
        await serving.events.first(WorkerLapsed)
        await serving.events.first(WorkerStarted, 2)
        await workshop.until("select 1 from pgflow.workers having count(*) = 2")
    assert workshop.rows("select attempts_count from pgflow.step_tasks") == [(1,)]


async def test_a_database_that_does_not_exist_is_an_error_at_once(workshop: Workshop) -> None:
    flow = diamond(Counter())
    nowhere = make_conninfo(workshop.dsn, dbname="no_such_database")
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match="no_such_database"):
        await Worker([flow], Settings(dsn=nowhere)).run()
    assert time.monotonic() - began < 2


async def test_an_outage_is_told_once_however_late_a_connection_notices(dsn: str) -> None:
    said = Events()

    async def ask(conn: AsyncConnection[Any]) -> None:
        await conn.execute("select 1")

    async with proxied(dsn) as proxy:
        outage = Outage()
        busy, idle = (Link(proxy.dsn, outage) for _ in range(2))
        await busy.keep(ask)
        await idle.keep(ask)
        with subscribed(said.take):
            proxy.refusing = True
            proxy.cut_all()
            asking = asyncio.create_task(busy.keep(ask))
            await said.first(DatabaseLost)
            proxy.refusing = False
            await asking
            await idle.keep(ask)
        await busy.close()
        await idle.close()
    assert (len(said.of(DatabaseLost)), len(said.of(DatabaseBack))) == (1, 1)


async def test_an_answer_from_before_an_outage_does_not_end_it(dsn: str) -> None:
    said, heard = Events(), asyncio.Event()

    async def ask(conn: AsyncConnection[Any]) -> None:
        await conn.execute("select 1")

    async def answered(conn: AsyncConnection[Any]) -> None:
        await ask(conn)
        await heard.wait()

    async with proxied(dsn) as proxy:
        outage = Outage()
        first, late = (Link(proxy.dsn, outage) for _ in range(2))
        await first.keep(ask)
        await late.keep(ask)
        on_its_way = asyncio.create_task(late.keep(answered))
        await asyncio.sleep(0)
        with subscribed(said.take):
            proxy.refusing = True
            await first.close()
            asking = asyncio.create_task(first.keep(ask))
            await said.first(DatabaseLost)
            heard.set()
            await on_its_way
            assert said.of(DatabaseBack) == []
            proxy.refusing = False
            await asking
        await first.close()
        await late.close()
    assert (len(said.of(DatabaseLost)), len(said.of(DatabaseBack))) == (1, 1)


async def test_a_worker_runs_once(workshop: Workshop) -> None:
    worker = Worker([diamond(Counter())], Settings(dsn=workshop.dsn))
    worker.stop()
    await worker.run()
    with pytest.raises(RuntimeError, match="make another Worker"):
        await worker.run()
