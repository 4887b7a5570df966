"""What pyright knows about a client. Checked, never run: pyright strict must find nothing here."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict, assert_type

from psycopg import AsyncConnection, Connection

from stepwell import Client, Flow, Run, SyncClient
from stepwell.client.reading import RunInfo
from stepwell.client.sync import SyncRun
from stepwell.db.inspect import RunSummary


@dataclass
class Order:
    id: int


class Shipped(TypedDict):
    ship: str


orders: Flow[Order, Shipped] = Flow("orders")
nightly: Flow[None, Shipped] = Flow("nightly")
anything = Flow("anything")


async def start(client: Client, conn: AsyncConnection[Any], sync_conn: Connection[Any]) -> None:
    run = await client.start(orders, Order(42), key="order:42", conn=conn)
    assert_type(run, Run[Shipped])
    assert_type(await run.result(timeout=60), Shipped)
    assert_type(await (await client.start(nightly)).result(), Shipped)
    assert_type(await client.start("orders", {"id": 42}), Run[Any])
    assert_type(await client.start_many(orders, [Order(1)]), list[Run[Shipped]])
    assert_type(await client.run(run.id, orders).result(), Shipped)
    assert_type(await client.run(run.id).result(), Any)
    assert_type(await client.list(orders), list[RunSummary])
    assert_type(await client.get(run.id), RunInfo)
    await client.start(anything, 5)
    await client.start(anything)

    await client.start(orders, "oops")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(orders)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start_many(orders, ["oops"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(orders, Order(1), conn=sync_conn)  # pyright: ignore[reportArgumentType, reportCallIssue]


def start_sync(client: SyncClient, conn: Connection[Any]) -> None:
    run = client.start(orders, Order(42), conn=conn)
    assert_type(run, SyncRun[Shipped])
    assert_type(run.result(timeout=60), Shipped)
    assert_type(client.start_many("orders", [1]), list[SyncRun[Any]])
    assert_type(client.list(), list[RunSummary])
    client.start(orders, "oops")  # pyright: ignore[reportArgumentType, reportCallIssue]
