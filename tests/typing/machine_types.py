"""What pyright knows about machines, jobs and outcomes. Checked, never run: pyright strict must
find nothing here."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from stepwell import (
    Await,
    Cancel,
    Child,
    ConcurrencyLimit,
    Context,
    Done,
    Flow,
    Job,
    JobCall,
    Machine,
    MachineContext,
    Next,
    QueueLimit,
    RateLimit,
    Retry,
    Schedule,
    Signal,
    Snooze,
    Spawn,
    Stepwell,
    Stop,
    cron,
    every,
    job,
    key_by,
    step,
)
from stepwell.define.flow import FlowCall
from stepwell.define.machine import Machine as Defined
from stepwell.define.outcome import Transition
from stepwell.define.reference import BoundStep, MachineStep


@dataclass
class Article:
    url: str


openai = RateLimit("openai", 60, per=timedelta(minutes=1), burst=10)
reports = ConcurrencyLimit("reports", 5)
article: Flow[Article, str] = Flow("article", max_running=10, fairness_by="tenant")


class Checkout(Machine, queue="checkout", version=1, timeout=timedelta(minutes=1), inline=False):
    order: int
    paid: bool = False
    lines: list[str] = field(default_factory=list[str])

    @step(initial=True)
    async def start(self, ctx: MachineContext):  # what it answers is inferred, also in a circle
        return Await("payment_confirmed", then=self.ship, timeout=timedelta(hours=1))

    @step(max_attempts=3, rate_limit=openai.by("order"), concurrency="one")
    async def ship(self, ctx: MachineContext):
        if not ctx.awaited:
            return Stop("payment never came")
        assert_type(ctx.awaited, list[Signal])
        if self.paid:
            return Next(self.start, delay=1.5, concurrency=None, rate_limit=openai.of("a"))
        return Done({"order": self.order})

    @step(reachable=True)
    def sync(self, ctx: MachineContext) -> Transition:
        return Spawn([Checkout(order=1), send.call(user_id=7)], then=self.ship, quorum=1)

    def on_error(self, error: Exception, ctx: MachineContext) -> Retry | Stop | None:
        return Retry(delay=5) if ctx.attempt < ctx.max_attempts else None


@job(queue="mail", max_attempts=20, no_retry=(ValueError,))
async def send(user_id: int) -> str: ...


@job
def count(up_to: int, tone: str = "kind") -> int | Snooze | Cancel: ...


@job(name="told")
async def with_context(ctx: Context, user_id: int) -> Article | Snooze: ...


Told = Stop | Next | Done
assert_type(Checkout.sync, MachineStep[Checkout, MachineContext, Transition])
machine = Checkout(order=1, lines=["tea"])
assert_type(machine.order, int)
assert_type(machine.sync, BoundStep[MachineContext, Transition])
assert_type(Checkout.decode(b"{}"), Checkout)


async def steps_and_jobs_are_called_like_their_functions(
    ctx: MachineContext, context: Context
) -> None:
    assert_type(await machine.ship(ctx), Told)  # mypy: error, as it infers no results
    assert_type(machine.sync(ctx), Transition)
    assert_type(Checkout.sync(machine, ctx), Transition)
    assert_type(await send(7), str)
    assert_type(count(7, tone="dry"), int | Snooze | Cancel)
    assert_type(await with_context(context, 7), Article | Snooze)


assert_type(send.call(user_id=7), JobCall[str])
assert_type(count.call(7), JobCall[int])
assert_type(with_context.call(user_id=7), JobCall[Article])
assert_type(article.call(Article("x")), FlowCall[str])


class Shipment(Machine, abstract=True):
    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition: ...


class Express(Shipment, version=2):
    phone: str

    @step(initial=True)
    def start(self, ctx: MachineContext) -> Transition: ...


app = Stepwell(
    flows=[article],
    machines=[Checkout, Express],
    jobs=[send, count, with_context],
    schedules=[
        Schedule("daily", send.call(1), cron("0 3 * * *")),
        Schedule("a", count.call(1), every(5)),
    ],
    limits=[openai, reports, QueueLimit("mail", 20)],
)
assert_type(app.machines, tuple[type[Defined], ...])


def takes_any(any_job: Job[..., Any, ...], any_machine: type[Machine]) -> Stepwell:
    return Stepwell(jobs=[any_job, send], machines=[any_machine])


approved = article.signal("approved", timeout=timedelta(days=1))
nap = article.sleep("nap", timedelta(days=30), after=approved)


@article.step(approved, nap, concurrency=reports.by("tenant"), rate_limit=openai)
def spawn(approved: str) -> Spawn:
    return Spawn([Child(article.call(Article(approved)), key="a", at=datetime.now(UTC))])


# Each ignore below is needed: pyright strict reports one that is not.
Checkout(1)  # pyright: ignore[reportCallIssue]
Checkout()  # pyright: ignore[reportCallIssue]
Checkout(order="x")  # pyright: ignore[reportArgumentType]
machine.piad = True  # pyright: ignore[reportAttributeAccessIssue]
Next(machine.shp)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
Next("ship")  # pyright: ignore[reportArgumentType]
Spawn([Checkout])  # pyright: ignore[reportArgumentType]
Spawn([send])  # pyright: ignore[reportArgumentType]
Spawn([], on_failure="retry")  # pyright: ignore[reportArgumentType]
key_by(7)  # pyright: ignore[reportArgumentType]
send.call(user_id="x")  # pyright: ignore[reportArgumentType, reportCallIssue]
send.call()  # pyright: ignore[reportCallIssue]
with_context.call(None, 7)  # pyright: ignore
article.call("x")  # pyright: ignore[reportArgumentType]
job(max_attempt=3)  # pyright: ignore[reportCallIssue]
step(initail=True)  # pyright: ignore[reportCallIssue]


class Wrong(Machine, queu="a"):  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue]
    @step(initial=True)  # pyright: ignore[reportArgumentType]
    def start(self, ctx: MachineContext) -> int: ...


Flow("slow", timeout=0.5)  # pyright: ignore[reportArgumentType]
Flow("slow").sleep("nap", 0.5)  # pyright: ignore[reportArgumentType]


class Careful(Machine, abstract=True):
    async def on_error(self, error: BaseException, ctx: MachineContext) -> Transition | None: ...


class Careless(Machine, abstract=True):
    def on_error(self, error: Exception) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]
