"""A checkout that waits for its payment, and then has each item packed by a job of its own.

stepwell dev examples/shop/app.py
stepwell start checkout --input '{"order": 42, "items": ["tea", "cup"]}' --key order:42
stepwell signal order:42 payment_confirmed '{"cents": 900}'
stepwell runs show order:42
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from stepwell import (
    Await,
    ConcurrencyLimit,
    Context,
    Done,
    Machine,
    MachineContext,
    Next,
    Spawn,
    Stepwell,
    Stop,
    job,
    step,
)

packers = ConcurrencyLimit("packers", 2)  # there are two of them, however many workers run


@dataclass
class Parcel:
    item: str
    grams: int


@job(queue="warehouse", concurrency=packers, backoff="fixed", max_attempts=5)
async def pack(ctx: Context, order: int, item: str) -> Parcel:
    await asyncio.sleep(0.2)  # stands for somebody who packs
    if item == "cup" and ctx.attempt == 1:
        raise ConnectionError("the warehouse did not answer")
    return Parcel(item, 100 * len(item))


class Checkout(Machine, queue="checkout", version=1):
    order: int  # the fields are the durable state
    items: list[str]
    cents: int = 0

    @step(initial=True)
    async def start(self, ctx: MachineContext) -> Await:
        return Await("payment_confirmed", then=self.book, timeout=timedelta(hours=1))

    @step
    async def book(self, ctx: MachineContext) -> Next | Stop:
        if not ctx.awaited:
            return Stop("payment never came")
        self.cents = ctx.awaited[0].payload["cents"]
        return Next(self.pack_all)

    @step
    async def pack_all(self, ctx: MachineContext) -> Spawn:
        calls = [pack.call(order=self.order, item=item) for item in self.items]
        return Spawn(calls, then=self.ship, on_failure="fail")

    @step
    async def ship(self, ctx: MachineContext) -> Done:
        parcels = [child.output for child in await ctx.children()]
        return Done({"order": self.order, "cents": self.cents, "parcels": parcels})


app = Stepwell(machines=[Checkout], jobs=[pack], limits=[packers])
