"""A database that goes away under a client, and comes back or does not."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row

from stepwell import Client, DatabaseUnavailable, Settings
from stepwell.client.batch import batch_of
from stepwell.db.call import Call
from stepwell.db.inspect import search_runs
from stepwell.db.pool import Pool
from stepwell.db.start import Started
from stepwell.db.sync.pool import SyncPool
from tests.servers import DatabaseServer

from .client_hands import Worker, single

orders = single()
KILL = (
    "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
    " where datname = %s and pid <> pg_backend_pid()"
)


class Switch:
    """Cuts a database off from everybody, and lets them in again."""

    def __init__(self, server: DatabaseServer, dsn: str) -> None:
        self._maintenance = server.maintenance
        self._name = str(conninfo_to_dict(dsn)["dbname"])

    def kill(self) -> None:
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            conn.execute(KILL, (self._name,))

    @contextmanager
    def outage(self) -> Generator[None]:
        self._allow("false")
        try:
            self.kill()
            yield
        finally:
            self._allow("true")

    def _allow(self, word: str) -> None:
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            change = sql.SQL("alter database {} allow_connections {}")
            conn.execute(change.format(sql.Identifier(self._name), sql.SQL(word)))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def switch(server: DatabaseServer, dsn: str) -> Switch:
    return Switch(server, dsn)


async def test_killed_connections_are_replaced(dsn: str, switch: Switch) -> None:
    async with Client(dsn) as client:
        runs = await asyncio.gather(*(client.start(orders, n) for n in range(20)))
        for _ in range(3):
            switch.kill()
            runs += await asyncio.gather(*(client.start(orders, n) for n in range(20)))
        assert all(run.created for run in runs)
        assert len(await client.list(limit=1000)) == 80


def test_killed_connections_of_the_sync_pool_are_replaced(dsn: str, switch: Switch) -> None:
    with Client.sync(dsn) as client:
        for n in range(4):
            assert client.start(orders, n).created
            switch.kill()
        assert len(client.list()) == 4


async def test_a_start_that_lost_its_answer_starts_nothing_twice(dsn: str, switch: Switch) -> None:
    lost = iter([True, False])

    class Losing(Call[Started]):
        """The first answer is lost: the commit happened, the connection broke."""

        async def on(self, conn: AsyncConnection[Any]) -> list[Started]:
            async with conn.cursor(row_factory=class_row(self.row)) as cursor:
                rows = await (await cursor.execute(self.sql, self.args)).fetchall()
            if next(lost):
                switch.kill()
                await conn.execute("select 1")
            return rows

    async with Client(dsn) as client, Pool(dsn) as pool:
        await client.start(orders, 0)
        batch = batch_of(orders, [1])
        [call] = batch.calls(None)
        rows = await pool.run(Losing(call.sql, call.args, call.row))
        assert [row.created for row in rows] == [False]  # it was there, and
        assert batch.created(rows) == [True]  # it was we who made it
        assert len(await client.list()) == 2


async def test_a_call_waits_for_the_database(dsn: str, switch: Switch) -> None:
    async with Client(dsn) as client:
        await client.start(orders, 1)
        with switch.outage():
            starting = asyncio.create_task(client.start(orders, 2))
            await asyncio.sleep(0.5)
            assert not starting.done()
        assert (await starting).created


async def test_a_call_does_not_wait_for_ever(dsn: str, switch: Switch) -> None:
    settings = Settings(dsn=dsn, connect_timeout=0.3)
    async with Client(settings=settings) as client:
        with switch.outage():
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="check DATABASE_URL"):
                await client.start(orders, 1)
            assert 0.1 < time.monotonic() - began < 3
            with Client.sync(settings=settings) as sync, pytest.raises(DatabaseUnavailable):
                sync.start(orders, 1)


async def test_whoever_waits_for_a_run_sits_an_outage_out(dsn: str, switch: Switch) -> None:
    settings = Settings(dsn=dsn, connect_timeout=0.2)  # shorter than the outage
    async with Client(settings=settings) as client:
        run = await client.start(orders, 1)
        with Client.sync(settings=settings) as sync:
            waiting = asyncio.create_task(run.result(15))
            blocking = asyncio.create_task(asyncio.to_thread(sync.run(run.id).result, 15))
            await asyncio.sleep(0.1)
            with switch.outage():
                await asyncio.sleep(1)
                assert not waiting.done()
                assert not blocking.done()
            with psycopg.connect(dsn, autocommit=True) as conn:
                Worker(conn).complete("back")
            assert await waiting == {"ship": "back"} == await blocking


@pytest.mark.parametrize("wrong", [{"dbname": "no_such_database"}, {"user": "nobody_at_all"}])
async def test_what_does_not_mend_itself_is_said_at_once(dsn: str, wrong: dict[str, str]) -> None:
    began = time.monotonic()
    async with Client(make_conninfo(dsn, **wrong)) as client:
        with pytest.raises(DatabaseUnavailable, match=r"does not exist|authentication failed"):
            await client.start(orders, 1)
        with pytest.raises(DatabaseUnavailable, match=r"does not exist|authentication failed"):
            await client.run("01a1fd14-35ea-7f92-b3d2-31e8f237709d").result()
    assert time.monotonic() - began < 5


async def test_a_pool_is_no_larger_than_it_may_be(dsn: str) -> None:
    async with Pool(dsn, max_size=3, application_name="small") as pool:
        await asyncio.gather(*(pool.run(search_runs()) for _ in range(50)))
        async with pool.connection() as conn:
            cursor = await conn.execute(
                "select count(*) from pg_stat_activity"
                " where application_name = 'small' and datname = current_database()"
            )
            assert await cursor.fetchone() in [(1,), (2,), (3,)]


async def test_a_cancelled_call_leaves_a_sound_pool(dsn: str) -> None:
    async with Pool(dsn, max_size=1) as pool:
        slow = Call("select pg_sleep(30)::text as flow", (), dict[str, Any])  # pyright: ignore[reportArgumentType]
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await pool.run(slow)
            assert await pool.run(search_runs()) == []
        async with asyncio.TaskGroup() as group:
            async with pool.connection() as conn:
                waiting = group.create_task(pool.run(search_runs()))
                await asyncio.sleep(0.05)
                assert not waiting.done()
                with pytest.raises(ZeroDivisionError):
                    async with conn.transaction():
                        raise ZeroDivisionError


def test_a_forked_child_has_connections_of_its_own(dsn: str) -> None:
    with SyncPool(dsn) as pool:
        pool.run(search_runs())
        child = os.fork()
        if child == 0:
            try:
                pool.run(search_runs())
                pool.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        pool.run(search_runs())  # the parent's is still whole
