"""What pyright knows about a client. Checked, never run: pyright strict must find nothing here."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, assert_type

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import sqlalchemy.orm
from psycopg import AsyncConnection, Connection
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio

from stepwell import (
    Cancel,
    Client,
    Done,
    Flow,
    LogLine,
    Machine,
    MachineContext,
    RateLimit,
    Run,
    RunEvent,
    Snooze,
    SyncClient,
    job,
    step,
)
from stepwell.client.flow_run import FlowRun, FlowRunWithStates, StepState
from stepwell.client.reading import RunInfo
from stepwell.client.run import ChildInfo, SignalInfo
from stepwell.client.signals import Signalled
from stepwell.client.sync.run import SyncRun
from stepwell.client.upserting import UpsertedFlow
from stepwell.db.inspect import RunSummary
from stepwell.db.steer import AuditEntry


@dataclass
class Order:
    id: int


class Shipped(TypedDict):
    ship: str


class Checkout(Machine):
    order: int

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Done:
        return Done()


@job(queue="mail")
async def send(user_id: int) -> int | Snooze | Cancel: ...


@job
def tidy() -> str: ...


orders: Flow[Order, Shipped] = Flow("orders")
nightly: Flow[None, Shipped] = Flow("nightly")
anything = Flow("anything")
openai = RateLimit("openai", 60)


async def read_logs(run: Run[Shipped], sync: SyncRun[Shipped]) -> None:
    assert_type(await run.logs("ship", level="warning"), list[LogLine])
    assert_type([line.message async for line in run.follow_logs(newest=10)], list[str])
    assert_type([(p.share, p.running) for p in sync.progress()], list[tuple[float | None, bool]])
    sync.logs(level="loud")  # pyright: ignore[reportArgumentType]


async def follow(client: Client, sync: SyncClient, run: Run[Shipped]) -> None:
    async for event in run.events():
        assert_type(event, RunEvent)
        assert_type((event.step, event.at), tuple[str | None, datetime])
    async with client.events("order:42") as events, client.all_events() as everything:
        assert_type(await anext(events), RunEvent)
        assert_type([event async for event in everything], list[RunEvent])
    with sync.events(run.id) as told:
        assert_type([event.output for event in told], list[Any])


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
    assert_type(await client.list([orders, "others"], ["failed"], tags=["vip"]), list[RunSummary])
    assert_type([each async for each in client.runs(kind="job")], list[RunSummary])
    assert_type(await client.get(run.id), RunInfo)
    assert_type((await run.label("vip", metadata={"shop": 7})).tags, list[str])
    assert_type(await client.results([run]), list[Shipped])
    assert_type(await client.wait_all([run, run.id]), Sequence[RunInfo])
    assert_type([each async for each in client.as_completed([run])], list[Run[Shipped]])
    await client.start(anything, 5)
    await client.start(anything)

    await client.start(orders, "oops")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(orders)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start_many(orders, ["oops"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(orders, Order(1), conn=sync_conn)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(orders, Order(1), prioritty=1)  # pyright: ignore[reportCallIssue]
    await client.start(orders, Order(1), tags=[1])  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.list(tag="vip")  # pyright: ignore[reportCallIssue]
    await client.list(status="done")  # pyright: ignore[reportArgumentType]


async def other_kinds(client: Client) -> None:
    assert_type(await client.start(Checkout(order=1), key="order:1"), Run[Any])
    assert_type(await client.start(send.call(user_id=7)), Run[int])
    assert_type(await client.start(orders.call(Order(1))), Run[Shipped])
    run = await client.enqueue(send.call(7), delay=timedelta(seconds=30), unique="kept")
    assert_type(run, Run[int])
    assert_type(await client.enqueue(tidy.call(), at=datetime.now(UTC)), Run[str])
    many = await client.enqueue_many([send.call(n) for n in range(9)], rate_limit=openai.of("a"))
    assert_type(many, list[Run[int]])
    await client.enqueue_many([tidy.call(), send.call(1), Checkout(order=1)])
    assert_type(await client.start_many(Checkout, [Checkout(order=1)]), list[Run[Any]])
    assert_type(await client.signal("order:1", "paid", start=Checkout(order=1)), Signalled)
    assert_type(await client.signal(run, "paid", [1, None], dedup_key="a"), Signalled)
    assert_type(await run.signals(), list[SignalInfo])
    assert_type(await run.children(), list[ChildInfo])
    assert_type(await run.restart(), Run[int])
    assert_type(await client.restart("order:1", "begin", actor="ada"), Run[Any])
    assert_type(await client.audit("order:1"), list[AuditEntry])

    assert_type(await client.enqueue(send, {"user_id": 7}), Run[Any])
    assert_type(await client.enqueue("send", {"user_id": 7}, delay_seconds=5), Run[Any])
    assert_type(await client.enqueue_in(send.call(7), timedelta(hours=1)), Run[int])
    assert_type(await client.enqueue_in(send, {"user_id": 7}, 5, priority=1), Run[Any])
    assert_type(await client.enqueue_at(send.call(7), datetime.now(UTC)), Run[int])
    assert_type(await client.start_flow(orders, Order(42)), Run[Shipped])
    assert_type(await client.start_flow("orders", {}), Run[Any])
    assert_type(await client.get_run(run.id), FlowRun)
    assert_type((await client.get_run_with_states(run.id)).step_states, tuple[StepState, ...])
    assert_type(await client.start_flow_sync(orders, Order(42)), FlowRunWithStates)
    assert_type(await client.upsert_flow("acct", steps=[{"slug": "a"}]), UpsertedFlow)

    await client.start_flow(orders, "oops")  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.upsert_flow("acct", steps=[{"slgu": "a"}])  # pyright: ignore[reportArgumentType]
    await client.enqueue(Checkout(order=1))  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.enqueue(send.call(user_id="seven"))  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownArgumentType]
    await client.start(Checkout)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(send.call(7), 7)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.signal("order:1", "paid", start=Checkout)  # pyright: ignore[reportArgumentType]


async def other_drivers(
    client: Client,
    sync_client: SyncClient,
    theirs: asyncpg.Connection,
    session: sqlalchemy_asyncio.AsyncSession,
    connection: sqlalchemy_asyncio.AsyncConnection,
    sync_session: sqlalchemy.orm.Session,
    sync_connection: sqlalchemy.Connection,
) -> None:
    await client.enqueue(tidy.call(), conn=theirs)
    await client.enqueue(tidy.call(), conn=session)
    await client.enqueue(tidy.call(), conn=connection)
    await client.signal("order:1", "paid", conn=session)
    sync_client.enqueue(tidy.call(), conn=sync_session)
    sync_client.enqueue(tidy.call(), conn=sync_connection)
    sync_client.enqueue(tidy.call(), conn=session)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.enqueue(tidy.call(), conn=sync_session)  # pyright: ignore[reportArgumentType, reportCallIssue]


def start_sync(client: SyncClient, conn: Connection[Any]) -> None:
    run = client.start(orders, Order(42), conn=conn)
    assert_type(run, SyncRun[Shipped])
    assert_type(run.result(timeout=60), Shipped)
    assert_type(client.start_many("orders", [1]), list[SyncRun[Any]])
    assert_type(client.list(), list[RunSummary])
    assert_type(list(client.runs(orders, status=["failed", "cancelled"])), list[RunSummary])
    assert_type(client.results([run]), list[Shipped])
    assert_type(list(client.as_completed([run])), list[SyncRun[Shipped]])
    assert_type(client.enqueue(send.call(7)), SyncRun[int])
    assert_type(client.start(Checkout(order=1)), SyncRun[Any])
    assert_type(client.signal("order:1", "paid"), Signalled)
    assert_type(client.enqueue_in("send", {"user_id": 7}, 5), SyncRun[Any])
    assert_type(client.start_flow(orders, Order(42)), SyncRun[Shipped])
    assert_type(client.start_flow_sync("orders", {}), FlowRunWithStates)
    client.start(orders, "oops")  # pyright: ignore[reportArgumentType, reportCallIssue]
