"""Values between a client, steps and Postgres: they keep their types, and what is too large or
cannot be told from something else fails alone, with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypedDict

import pydantic
import pytest
import pytest_asyncio

from stepwell import (
    Await,
    Client,
    Done,
    Flow,
    Machine,
    MachineContext,
    PayloadTooLarge,
    RunFailed,
    Settings,
    Stepwell,
    SyncClient,
    job,
    step,
)
from stepwell.testing import Kit

from .workshop import Workshop

PATIENCE = 45.0
SMALL = 20_000
pytestmark = pytest.mark.timeout(120)


class Item(pydantic.BaseModel):
    price: Decimal
    at: datetime


@dataclass
class Order:
    items: list[Item]
    codes: set[int] = field(default_factory=set[int])
    waits: timedelta = timedelta(seconds=1.5)


class Checked(TypedDict):
    check: Order
    plain: list[Any]


ORDER = Order([Item(price=Decimal("1.10"), at=datetime(2030, 1, 1, tzinfo=UTC))], {2**70})
shop = Flow[Order, Checked]("shop")


@shop.step
async def again(flow_input: Order) -> Order:
    return flow_input


@shop.step
def check(again: Order, flow_input: Order) -> Order:
    assert again == flow_input == ORDER
    return again


@shop.step
def plain(again: Any) -> list[Any]:
    assert again["items"][0]["price"] == "1.10"
    return [1e16, 1e300, 1.0, 10**30, -5e-324]


sizes = Flow[int, Any]("sizes", max_attempts=1)


@sizes.step
async def text(flow_input: int) -> str:
    return "x" * flow_input


wide = Flow[int, Any]("wide", max_attempts=1)


@wide.step
def numbers(flow_input: int) -> list[int]:
    return [0] * flow_input


@wide.map(over=numbers, if_exhausted="skip")
async def each(number: int) -> int:
    return number


class Growing(Machine, max_attempts=1):
    text: str = ""

    @step(initial=True)
    async def grow(self, ctx: MachineContext) -> Await:
        return Await("more", then=self.more)

    @step
    def more(self, ctx: MachineContext) -> Done:
        self.text = "x" * ctx.awaited[0].payload
        return Done()


@job
async def measure(text: str) -> int:
    return len(text)


APP = Stepwell(flows=[shop, sizes, wide], machines=[Growing], jobs=[measure])


@pytest_asyncio.fixture
async def narrow(workshop: Workshop) -> AsyncGenerator[Client]:
    """A client that sends little."""
    async with Client(settings=Settings(dsn=workshop.dsn, max_payload=SMALL)) as client:
        yield client


async def test_values_keep_their_types_on_their_way_through_a_flow(workshop: Workshop) -> None:
    async with workshop.worker(app=APP):
        run = await workshop.client.start(shop, ORDER)
        result = await run.result(PATIENCE)
    assert result["check"] == ORDER
    kept = [1e16, 1e300, 1.0, 10**30, -5e-324]
    assert [(type(each), each) for each in result["plain"]] == [(type(k), k) for k in kept]


async def test_an_outcome_that_is_too_large_fails_alone(workshop: Workshop, narrow: Client) -> None:
    async with workshop.worker(app=APP, max_payload=SMALL):
        runs = await narrow.start_many(sizes, [SMALL, 10, SMALL - 2, 30_000_000])
        for run, length in ((runs[1], 10), (runs[2], SMALL - 2)):
            assert await run.result(PATIENCE) == {"text": "x" * length}
        for run, size in ((runs[0], "20,002 bytes"), (runs[3], r"28\.6 MiB")):
            said = f"output of step 'text' is {size} of JSON, and max_payload allows 20,000 bytes"
            with pytest.raises(RunFailed, match=f"PayloadTooLarge.*{said}"):
                await run.result(PATIENCE)
        growing = await narrow.start(Growing())
        await narrow.signal(growing, "more", SMALL)
        with pytest.raises(RunFailed, match="what step 'more' answered with is 20,"):
            await growing.result(PATIENCE)
        fine = await narrow.start(Growing())
        await narrow.signal(fine, "more", 7)
        await fine.result(PATIENCE)


async def test_a_map_over_too_much_fails_its_run_and_no_other(workshop: Workshop) -> None:
    workshop.rows("select pgflow.set_payload_limits(max_elements => 10000)")
    async with workshop.worker(app=APP, concurrency=4):
        runs = await workshop.client.start_many(wide, [10_001, 3])
        assert await runs[1].result(PATIENCE) == {"each": [0] * 3}
        said = "step 'each' would map over 10001 elements, and this database takes 10000"
        with pytest.raises(RunFailed, match=f"step 'numbers'.*{said}"):
            await runs[0].result(PATIENCE)


async def test_a_client_sends_nothing_that_is_too_large(workshop: Workshop, narrow: Client) -> None:
    large = "x" * SMALL
    async with workshop.worker(app=APP):
        run = await narrow.start(Growing(text="x" * 100))
        refused = [
            ("input of 'measure'", narrow.enqueue(measure.call(large))),
            ("input of 'measure'", narrow.enqueue_many([measure.call("a"), measure.call(large)])),
            ("input of 'growing'", narrow.start(Growing(text=large))),
            ("input of 'sizes'", narrow.start("sizes", large)),
            ("signal 'more'", narrow.signal(run, "more", large)),
        ]
        for what, call in refused:
            with pytest.raises(PayloadTooLarge, match=f"{what} is 20,.* STEPWELL_MAX_PAYLOAD"):
                await call
        with pytest.raises(PayloadTooLarge, match="input of 'measure'"):
            await asyncio.to_thread(send_sync, workshop.dsn, large)
        assert await narrow.list("measure") == []
        allowed = await workshop.client.enqueue(measure.call(large))  # it has the default
        assert await allowed.result(PATIENCE) == SMALL


def send_sync(dsn: str, large: str) -> None:
    with SyncClient(settings=Settings(dsn=dsn, max_payload=SMALL)) as client:
        with pytest.raises(PayloadTooLarge, match="signal 'more'"):
            client.signal("nobody", "more", large)
        client.enqueue(measure.call(large))


async def test_the_testing_kit_refuses_the_same(dsn: str) -> None:
    async with Kit(APP, dsn) as kit:
        run = await kit.client.start(sizes, 17 * 2**20)
        await kit.drain()
        with pytest.raises(RunFailed, match=r"is 17\.0 MiB of JSON, and max_payload allows 16\.0"):
            await run.result()
