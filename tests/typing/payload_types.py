"""What pyright and mypy know about values: of flows, steps, jobs and machines, and of what a client
starts. Checked, never run: see test_typing.py."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar, assert_type
from uuid import UUID

import pydantic

from stepwell import (
    Client,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    Run,
    Schedule,
    Step,
    Stepwell,
    SyncClient,
    every,
    job,
    step,
)
from stepwell.client.sync.run import SyncRun
from stepwell.define.flow import FlowCall

T = TypeVar("T")


@dataclass
class Line:
    price: Decimal
    count: int = 1


class Order(pydantic.BaseModel):
    id: UUID
    lines: list[Line] = pydantic.Field(default_factory=list[Line])


@dataclass
class Page(Generic[T]):
    items: list[T]
    next: int | None = None


class Size(NamedTuple):
    width: int
    height: int


class Answer(TypedDict):
    total: Decimal
    sizes: list[Size]


shop = Flow[Order, Answer]("shop")
pages: Flow[Page[Line] | None, dict[str, int]] = Flow("pages")


@shop.step
def total(flow_input: Order) -> Decimal:
    return sum((line.price for line in flow_input.lines), Decimal())


@shop.step
async def lines(flow_input: Order) -> list[Line]:
    return flow_input.lines


@shop.map(over=lines, max_attempts=5)
async def sizes(line: Line, ctx: Context) -> Size:
    return Size(line.count, ctx.attempt)


@job(max_attempts=3)
def bill(order: Order, lines: Page[Line], note: str | None = None) -> Size:
    return Size(len(order.lines), len(lines.items))


class Parcel(Machine):
    order: Order
    weight: Decimal = Decimal(1)
    stops: set[str] = field(default_factory=set[str])

    @step(initial=True)
    async def pack(self, ctx: MachineContext) -> Done:
        assert_type(self.stops, set[str])
        return Done(self.weight)


order = Order(id=UUID(int=1))
assert_type(shop, Flow[Order, Answer])
assert_type(shop.call(order), FlowCall[Answer])
assert_type(total(order), Decimal)
assert_type(total.slug, str)
assert_type(bill(order, Page([Line(Decimal(1))])), Size)
assert_type(Parcel(order=order).weight, Decimal)


async def start(client: Client) -> None:
    run = await client.start(shop, order)
    assert_type(run, Run[Answer])
    assert_type((await run.result())["sizes"], list[Size])
    assert_type(await client.start(pages, Page([Line(Decimal(1))])), Run[dict[str, int]])
    assert_type(await client.start(pages, None), Run[dict[str, int]])
    call = bill.call(order, lines=Page([Line(Decimal(2))]))
    assert_type(await client.enqueue_at(call, datetime.now(UTC)), Run[Size])
    assert_type(await client.enqueue_in(call, 5, priority=1), Run[Size])
    assert_type(await (await client.enqueue_in(call, timedelta(hours=1))).result(), Size)
    await client.signal(run, "approved", Answer(total=Decimal(1), sizes=[]))
    await client.signal("order:1", "paid", order, start=Parcel(order=order))

    await client.start(shop, Line(Decimal(1)))  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(shop, None)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(pages, order)  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.start(Parcel(order=7))  # pyright: ignore[reportArgumentType]
    await client.start_many(shop, [order, 7])  # pyright: ignore[reportArgumentType, reportCallIssue]
    await client.enqueue_at(call, "noon")  # pyright: ignore[reportArgumentType]
    await client.enqueue_in(call)  # pyright: ignore[reportCallIssue]
    await client.signal(7, "approved")  # pyright: ignore[reportArgumentType]
    await client.signal(run, b"approved")  # pyright: ignore[reportArgumentType]


def start_sync(client: SyncClient) -> None:
    run = client.start(shop, order)
    assert_type(run, SyncRun[Answer])
    assert_type(run.result()["total"], Decimal)
    call = bill.call(order, Page([]), note="soon")
    assert_type(client.enqueue(call).result(), Size)
    assert_type(client.enqueue_at(call, datetime.now(UTC)), SyncRun[Size])
    assert_type(client.enqueue_in(call, 5), SyncRun[Size])
    assert_type(client.start_many(shop, [order]), list[SyncRun[Answer]])
    client.signal(run, "approved", order, start=None)

    client.start(shop, Line(Decimal(1)))  # pyright: ignore[reportArgumentType, reportCallIssue]
    client.start(shop)  # pyright: ignore[reportArgumentType, reportCallIssue]
    client.start_many(shop, [7])  # pyright: ignore[reportArgumentType, reportCallIssue]
    client.enqueue(Parcel(order=order))  # pyright: ignore[reportArgumentType, reportCallIssue]
    client.enqueue_at(call, "noon")  # pyright: ignore[reportArgumentType]
    client.signal(7, "approved")  # pyright: ignore[reportArgumentType]
    client.signal("order:1", "paid", start=Parcel)  # pyright: ignore[reportArgumentType]


def takes_steps(one: Step[..., Decimal], other: Step[..., Any]) -> Stepwell:
    takes_steps(total, lines)
    takes_steps(lines, total)  # pyright: ignore[reportArgumentType]
    return Stepwell(flows=[shop, pages], machines=[Parcel], jobs=[bill])


bill.call(order)  # pyright: ignore[reportCallIssue]
bill.call(order, Page([Line(Decimal(1))]), 7)  # pyright: ignore[reportArgumentType]
bill.call(order, lines=[])  # pyright: ignore[reportArgumentType]
bill(7, Page([]))  # pyright: ignore[reportArgumentType]
shop.call(7)  # pyright: ignore[reportArgumentType]
shop.call()  # pyright: ignore[reportCallIssue]
shop.map(over=[lines])  # pyright: ignore[reportArgumentType]
shop.map(lines, over=lines)  # pyright: ignore[reportCallIssue]
shop.step(lines, if_exhausted="never")  # pyright: ignore[reportArgumentType]
Parcel(order=order, weight="7 kg")  # pyright: ignore[reportArgumentType]
Parcel(order)  # pyright: ignore[reportCallIssue]
Parcel(order=order, stop="Bremen")  # pyright: ignore[reportCallIssue]
Schedule("daily", bill, every(5))  # pyright: ignore[reportArgumentType]
other: Flow[Line, Answer] = shop  # pyright: ignore[reportAssignmentType]
narrower: Flow[Order, dict[str, int]] = shop  # pyright: ignore[reportAssignmentType]
