"""A start whose connection breaks: before it arrived, while it is done, after it was committed. It
is repeated by itself, and there is one run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from stepwell import Client, SyncClient, job
from tests.chaos.proxy import Proxy, proxied

from .client_hands import single

orders = single()
WAITING = (
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock'"
)


@job(queue="mail")
def send(user_id: int) -> None: ...


def cut_at(proxy: Proxy, word: str, times: int = 1) -> None:
    """Lose the answers of the next statements with this word in them."""
    left = [True] * times
    proxy.cut = lambda text: word in text and bool(left) and left.pop()
    proxy.cuts = 0


async def test_what_was_committed_is_not_started_again(dsn: str) -> None:
    async with proxied(dsn) as proxy, Client(proxy.dsn) as client, Client(dsn) as witness:
        await client.start(orders, 0)
        cut_at(proxy, "start_runs", times=2)
        run = await client.start(orders, 1, key="k")
        assert run.created
        assert proxy.cuts == 2
        cut_at(proxy, "start_runs")
        again = await client.start(orders, 1, key="k")
        assert (again.id, again.created) == (run.id, False)
        cut_at(proxy, "start_runs")
        named = await client.start(orders, 1, run_id=(await client.start(orders, 2)).id)
        assert not named.created  # whose id it is cannot be told from a repetition
        assert len(await witness.list()) == 3


@pytest.mark.parametrize("word", ["begin", "start_runs", "commit"])
async def test_many_are_started_once_wherever_it_breaks(dsn: str, word: str) -> None:
    async with proxied(dsn) as proxy, Client(proxy.dsn) as client, Client(dsn) as witness:
        await client.start(orders, 0)
        cut_at(proxy, word, times=3)
        proxy.cut = lower_case(proxy.cut)
        runs = await client.start_many(orders, range(1500), tags=["many"])
        assert all(run.created for run in runs)
        assert proxy.cuts == 3
        found = await witness.list(limit=5000, tags=["many"])
        assert {each.id for each in found} == {run.id for run in runs}


async def until_waiting(watcher: psycopg.Connection[Any], backends: int) -> None:
    async with asyncio.timeout(60):
        while watcher.execute(WAITING).fetchone() != (backends,):
            await asyncio.sleep(0.01)


def lower_case(cut: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: cut(text.lower())


async def test_a_start_that_the_server_still_works_on_is_waited_for(dsn: str) -> None:
    """Postgres does not see that a client is gone before it answers; the repetition comes while
    the first one is under way."""
    async with proxied(dsn) as proxy, Client(proxy.dsn) as client, Client(dsn) as witness:
        await client.start(orders, 0)
        with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as watcher:
            holder.execute("lock table pgflow.runs in share mode")
            starting = asyncio.create_task(client.start(orders, 1, key="k"))
            await until_waiting(watcher, 1)
            proxy.cut_all()
            await until_waiting(watcher, 2)
            holder.rollback()
        assert (await starting).created
        assert len(await witness.list(key="k")) == 1
        assert len(await witness.list()) == 2


async def test_a_start_that_never_arrived_comes_again(dsn: str) -> None:
    async with proxied(dsn) as proxy, Client(proxy.dsn) as client:
        await client.start(orders, 0)
        proxy.refusing = True
        proxy.cut_all()
        starting = asyncio.create_task(client.start(orders, 1))
        _, waiting = await asyncio.wait([starting], timeout=0.3)
        assert waiting
        proxy.refusing = False
        assert (await starting).created
        assert len(await client.list()) == 2


async def test_the_blocking_client_repeats_too(dsn: str) -> None:
    def start(client: SyncClient) -> bool:
        return client.enqueue(send.call(1), key="k").created

    async with proxied(dsn) as proxy:
        with Client.sync(proxy.dsn) as client, Client.sync(dsn) as witness:
            await asyncio.to_thread(client.start, orders, 0)
            cut_at(proxy, "start_runs", times=2)
            assert await asyncio.to_thread(start, client)
            assert proxy.cuts == 2
            assert len(witness.list(key="k")) == 1


async def test_a_start_in_your_transaction_is_yours_to_repeat(dsn: str) -> None:
    """Nobody but the caller knows what else is in it."""
    async with proxied(dsn) as proxy, Client(dsn) as client:
        await client.start(orders, 0)
        cut_at(proxy, "start_runs")
        async with await psycopg.AsyncConnection.connect(proxy.dsn) as conn:
            with pytest.raises(psycopg.OperationalError):
                await client.start(orders, 1, conn=conn)
        assert len(await client.list()) == 1
