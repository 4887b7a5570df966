"""What a test says of a run, and what it reads where that is not so."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import (
    Await,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    MessageContext,
    RetryPolicy,
    Stepwell,
    job,
    queue_worker,
    step,
)
from stepwell.testing import Expect, Kit, NeverQuiet, SyncExpect, SyncKit, Tally

NEW_YEAR = datetime(2030, 1, 1, tzinfo=UTC)
said: ContextVar[str] = ContextVar("said", default="nothing")
heard: list[str] = []


@job(max_attempts=2, base_delay=60, jitter=0)
async def send(ctx: Context, to: str) -> str:
    heard.append(said.get())
    ctx.log(f"a letter to {to}")
    if "@" not in to:
        raise ValueError(f"{to} is no address")
    return f"sent to {to}"


class Checkout(Machine):
    order: int

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Await:
        return Await(["paid", "refused"], then=self.ship, timeout=timedelta(hours=1))

    @step
    async def ship(self, ctx: MachineContext) -> Done:
        return Done({"order": self.order})


orders = Flow[dict[str, Any], Any]("orders")


@orders.step(when={"lang": "en"}, if_unmet="skip")
def translate(flow_input: dict[str, Any]) -> str:
    heard.append(said.get())
    return "translated"


tasks: list[tuple[Any, int]] = []


@queue_worker("letters", retry=RetryPolicy("fixed", limit=1, base_delay=30))
async def letter(text: str, ctx: MessageContext) -> None:
    tasks.append((text, ctx.read_ct))
    if text == "lost":
        raise LookupError("no such letter")


@queue_worker("rests")
def rest(seconds: int) -> None:
    heard.append(said.get())


APP = Stepwell(flows=[orders], machines=[Checkout], jobs=[send], queues=[letter, rest])


@pytest.fixture(autouse=True)
def afresh() -> None:
    heard.clear()
    tasks.clear()


async def test_what_is_expected_of_runs(dsn: str) -> None:
    async with Kit(APP, dsn, now=NEW_YEAR) as kit:
        good = await kit.client.enqueue(send.call(to="ada@example.com"))
        bad = await kit.client.enqueue(send.call(to="nobody"), key="bad")
        machine = await kit.client.start(Checkout(order=1))
        flow = await kit.client.start(orders, {"lang": "de"})
        tally = await kit.drain()

        assert (await kit.expect(good).completed("sent to ada@example.com")).status == "completed"
        await kit.expect(good).ran(send, times=1)
        await kit.expect(flow).skipped("translate")
        await kit.expect("bad").live()
        assert (await kit.expect(machine).waiting_for("paid")).step == "ship"
        assert (await kit.expect(bad).waiting_for()).next_at == kit.now + timedelta(minutes=2)
        tally.assert_ran(send, times=2)
        tally.assert_ran(Checkout.begin)
        tally.assert_ran("checkout", times=1)
        tally.assert_ran("begin")
        tally.assert_ran(Checkout.ship, times=0)

        with pytest.raises(AssertionError, match="to have completed, and it has not ended") as e:
            await kit.expect(bad).completed()
        assert "perform[0] attempt 1  2030-01-01 00:00:00 UTC" in str(e.value)
        assert "ValueError: nobody is no address" in str(e.value)
        assert "2030-01-01 00:00:00 UTC  info   perform  a letter to nobody" in str(e.value)
        assert "goes on 2030-01-01 00:02:00 UTC" in str(e.value)
        with pytest.raises(AssertionError, match=r"'x', and its output is 'sent to ada"):
            await kit.expect(good).completed("x")
        with pytest.raises(AssertionError, match=r"for 'shipped', and ship waits for 'paid', 'ref"):
            await kit.expect(machine).waiting_for("shipped")
        with pytest.raises(AssertionError, match="to be live, and it completed"):
            await kit.expect(good).waiting_for()
        with pytest.raises(AssertionError, match="'perform' is completed"):
            await kit.expect(good).skipped("perform")
        with pytest.raises(AssertionError, match=r"send.perform .* to run, and it ran 0 times"):
            await kit.expect(machine).ran(send)
        with pytest.raises(
            AssertionError, match=r"3 times, and it ran 2 times; .*checkout.begin o"
        ):
            tally.assert_ran(send, times=3)
        with pytest.raises(TypeError, match="is no step"):
            tally.assert_ran(orders)

        await kit.advance(minutes=2)
        await kit.expect(bad).failed(step="perform", error=ValueError)
        await kit.expect(bad).failed(error=r"ValueError: \w+ is no address")
        await kit.expect(bad).ran(send, times=2)
        kit.assert_ran(send, times=3)
        with pytest.raises(AssertionError, match=r"'KeyError', and it failed with 'ValueError: no"):
            await kit.expect(bad).failed(error=KeyError)
        with pytest.raises(AssertionError, match="at step 'x', and it failed at 'perform'"):
            await kit.expect(bad).failed(step="x")
        with pytest.raises(AssertionError, match="to be cancelled, and it has not ended"):
            await kit.expect(machine).cancelled()
        await kit.client.signal(machine, "other", {"n": 1})
        await kit.client.cancel(machine, "too late")
        await kit.expect(machine).cancelled("late")
        with pytest.raises(AssertionError, match="because of 'x', and it was") as e:
            await kit.expect(machine).cancelled("x")
        assert "in the inbox" in str(e.value) and 'state    {"order": 1}' in str(e.value)


async def test_messages_of_queues_are_drained(dsn: str) -> None:
    async with Kit(APP, dsn, now=NEW_YEAR) as kit:
        await kit.client.send("letters", "hello")
        await kit.client.send("letters", "lost")
        await kit.client.send("letters", "later", delay=3600)
        tally = await kit.drain()
        assert tally == Tally(steps=2, completed=1, retry=1)
        tally.assert_ran(letter, times=2)
        assert tasks == [("hello", 1), ("lost", 1)]
        assert await kit.next_due() == NEW_YEAR + timedelta(seconds=30)
        assert await kit.advance(minutes=5) == Tally(steps=1, failed=1)
        [dead] = await kit.client.dead_letters()
        assert (dead.error_type, dead.died_at) == ("LookupError", NEW_YEAR + timedelta(seconds=30))
        assert await kit.next_due() == NEW_YEAR + timedelta(hours=1)
        assert await kit.advance(hours=1) == Tally(steps=1, completed=1)
        await kit.client.send("rests", 1)
        assert await kit.drain(queue="letters") == Tally()
        assert await kit.drain(queue="rests") == Tally(steps=1, completed=1)
        for _ in range(3):
            await kit.client.send("rests", 1)
        with pytest.raises(NeverQuiet, match=r"rests\.rest \(2 times\)"):
            await kit.drain(max_steps=2)
        assert await kit.drain() == Tally(steps=1, completed=1)


async def test_a_drain_that_is_cut_off_gives_its_message_back(dsn: str) -> None:
    hanging = True
    begun = asyncio.Event()

    @queue_worker("slow")
    async def slow(n: int) -> None:
        begun.set()
        if hanging:
            await asyncio.sleep(60)

    async with Kit(Stepwell(queues=[slow]), dsn) as kit:
        await kit.client.send("slow", 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                draining = asyncio.create_task(kit.drain())
                await begun.wait()
                limit.reschedule(0)
                await draining
        hanging = False
        assert await kit.drain() == Tally(steps=1, completed=1)


async def test_handlers_of_each_kind_see_the_context_of_the_test(dsn: str) -> None:
    async with Kit(APP, dsn) as kit:
        await kit.client.enqueue(send.call(to="a@example.com"))
        await kit.client.start(orders, {"lang": "en"})
        await kit.client.send("rests", 1)
        said.set("hello")
        assert (await kit.drain()).completed == 3
    assert heard == ["hello"] * 3


async def test_blocking_calls_do_not_stop_the_loop_of_a_test(dsn: str) -> None:
    with pytest.raises(RuntimeError, match="async with Kit"):
        with SyncKit(APP, dsn):
            raise AssertionError("it was opened")


@pytest.mark.parametrize("kinds", [(Kit, SyncKit), (Expect, SyncExpect)])
def test_both_kinds_have_the_same_calls(kinds: tuple[type, type]) -> None:
    one, other = ({n: signature_of(getattr(kind, n)) for n in public(kind)} for kind in kinds)
    assert one == other


def public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


def signature_of(member: Any) -> list[str]:
    return list(inspect.signature(member).parameters) if callable(member) else []


def test_a_kit_without_a_loop(dsn: str) -> None:
    said.set("sync")
    with SyncKit(APP, dsn, now=NEW_YEAR) as kit:
        run = kit.client.enqueue(send.call(to="nobody"), delay=60)
        flow = kit.client.start(orders, {"lang": "en"})
        assert kit.drain() == Tally(steps=1, completed=1)
        kit.expect(flow).completed({"translate": "translated"})
        assert kit.next_due() == NEW_YEAR + timedelta(minutes=1)
        [waits] = kit.waiting_for(run)
        assert waits.next_at == kit.next_due()
        kit.expect(run).waiting_for()
        assert kit.advance(days=1) == Tally(steps=2, retry=1, failed=1)
        assert kit.now == NEW_YEAR + timedelta(days=1)
        kit.expect(run).failed(error=ValueError)
        kit.assert_ran(send, times=2)
        kit.expect(run).ran(send, times=2)
        assert [each.message for each in kit.logs(run)] == ["a letter to nobody"] * 2
        assert kit.logs(run, level="error") == kit.progress(run) == []
        with kit.connection() as conn, conn.transaction():
            run = kit.client.enqueue(send.call(to="a@example.com"), conn=conn)
        assert kit.run(run).started_at == kit.now
        with pytest.raises(AssertionError, match="to have completed, and it has not ended"):
            kit.expect(run).completed()
        kit.expect(run).live()
        kit.client.cancel(run)
        kit.expect(run).cancelled()
    assert heard == ["sync"] * 3
