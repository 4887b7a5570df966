"""Everything works through PgBouncer in transaction mode, with a few server connections for all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from datetime import timedelta

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from stepwell import (
    Await,
    Client,
    Done,
    Flow,
    Machine,
    MachineContext,
    Stepwell,
    Stop,
    job,
    step,
)
from stepwell.db.migrate import migrate
from tests.pooler import POOL, Pooler, pooled
from tests.servers import DatabaseServer
from tests.unbuilt import LEFT, UNBUILD

from .workshop import Workshop, workshop_on

bodies: Counter[int] = Counter()

parts = Flow("parts", base_delay=1)


@parts.step
def numbers(flow_input: int) -> list[int]:
    return list(range(flow_input))


@parts.map(over=numbers)
async def double(n: int) -> int:
    bodies[n] += 1
    if n == 3 and bodies[n] == 1:
        raise ConnectionError("once")
    await asyncio.sleep(0.01)
    return 2 * n


@parts.step
async def total(double: list[int]) -> int:
    return sum(double)


class Order(Machine):
    number: int

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Await:
        return Await("paid", then=self.ship, timeout=timedelta(hours=1))

    @step
    async def ship(self, ctx: MachineContext) -> Done | Stop:
        return Done({"shipped": self.number}) if ctx.awaited else Stop("not paid")


@job
async def add(a: int, b: int) -> int:
    return a + b


app = Stepwell(flows=[parts], machines=[Order], jobs=[add])


@pytest.fixture(autouse=True)
def fresh() -> None:
    bodies.clear()


@pytest.fixture(scope="module")
def pooler(server: DatabaseServer) -> Generator[Pooler]:
    with pooled(server.maintenance) as found:
        yield found


async def test_what_is_built_beside_the_work_is_built_once(pooler: Pooler, dsn: str) -> None:
    """And no session of the pooler keeps a setting or a lock of it."""
    with psycopg.connect(dsn, autocommit=True) as direct:
        direct.execute(UNBUILD)
        name = direct.info.dbname
        direct.execute(
            sql.SQL("alter database {} set statement_timeout = '50s'").format(sql.Identifier(name))
        )
    through = pooler.dsn(dsn)
    conns = [
        await AsyncConnection.connect(through, autocommit=True, prepare_threshold=None)
        for _ in range(2)
    ]
    built = await asyncio.gather(*map(migrate, conns))
    assert sorted(built) == [[], [LEFT]]
    async with conns[0].transaction(), conns[1].transaction():
        for conn in conns:
            row = await (await conn.execute("show statement_timeout")).fetchone()
            assert row == ("50s",)
            row = await (
                await conn.execute(
                    "select count(*) from pg_locks where locktype = 'advisory' and database ="
                    " (select oid from pg_database where datname = current_database())"
                )
            ).fetchone()
            assert row == (0,)
    for conn in conns:
        await conn.close()


async def test_migrating_starting_working_and_waiting(pooler: Pooler, empty_dsn: str) -> None:
    through = pooler.dsn(empty_dsn)
    async with await AsyncConnection.connect(
        through, autocommit=True, prepare_threshold=None
    ) as conn:
        await migrate(conn)
        await migrate(conn)
    async with workshop_on(through) as workshop:
        client = workshop.client
        async with workshop.worker(app=app, poll=0.2, concurrency=20):
            run = await client.start(parts, 30, key="thirty", unique="kept")
            async with run.events() as events:
                seen = [event.name async for event in events]
            assert seen[-1] == "run:completed"
            assert await run.result(timeout=30) == {"total": 870}
            assert (await client.start(parts, 30, key="thirty", unique="kept")).id == run.id
            order = await client.start(Order(number=7), key="order:7")
            await client.signal("order:7", "paid")
            assert await order.result(timeout=30) == {"shipped": 7}
            sums = await client.enqueue_many([add.call(a=n, b=1) for n in range(50)])
            assert [await each.result(timeout=30) for each in sums] == list(range(1, 51))
        assert len(await run.attempts()) == 1
        state = workshop.rows("select count(*) from pg_prepared_statements")
        assert state == [(0,)]
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        servers = conn.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and backend_type = 'client backend' and pid <> pg_backend_pid()"
        ).fetchone()
        held = conn.execute(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
            " where l.locktype = 'advisory' and d.datname = current_database()"
        ).fetchone()
    assert servers is not None and servers[0] <= POOL
    assert held == (0,)


async def test_a_direct_address_for_listen_makes_an_idle_worker_quick(
    pooler: Pooler, dsn: str
) -> None:
    """The poll alone would take a minute; so would a wake-up that went to nobody."""
    async with workshop_on(pooler.dsn(dsn)) as workshop:
        async with workshop.worker(app=app, poll=60.0, listen_dsn=dsn):
            for n in range(3):
                run = await workshop.client.enqueue(add.call(a=n, b=1))
                assert await run.result(timeout=30) == n + 1


async def test_without_one_it_polls(pooler: Pooler, dsn: str) -> None:
    async with workshop_on(pooler.dsn(dsn)) as workshop:
        async with workshop.worker(app=app, poll=0.2, wake="poll"):
            run = await workshop.client.enqueue(add.call(a=1, b=1))
            assert await run.result(timeout=30) == 2


async def test_a_pooler_that_dies_in_the_middle(server: DatabaseServer, dsn: str) -> None:
    with pooled(server.maintenance) as pooler:
        through = pooler.dsn(dsn)
        async with Client(through) as client:
            workshop = Workshop(dsn, client)
            async with workshop.worker(app=app, dsn=through, poll=0.2, concurrency=10) as serving:
                runs = [await client.start(parts, 40) for _ in range(3)]
                for often in (1, 2):
                    await serving.events.until(
                        lambda often=often: serving.events.written > 30 * often
                    )
                    pooler.kill()
                    await asyncio.sleep(0)
                    pooler.start()
                results = [await run.result(timeout=60) for run in runs]
                assert results == [{"total": 1560}] * 3
            assert workshop.broken() == []
            rows = workshop.rows(
                "select count(*), count(distinct (run_id, step_slug, task_index))"
                " from pgflow.step_tasks where status = 'completed'"
            )
            assert rows == [(3 * 42, 3 * 42)]
