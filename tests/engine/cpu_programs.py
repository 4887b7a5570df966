"""Definitions whose bodies run in child processes, which import this module."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from stepwell import (
    Backoff,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    MessageContext,
    Next,
    PermanentError,
    ProcessDied,
    QueueWorker,
    Retry,
    RetryAfter,
    RetryPolicy,
    RunLogHandler,
    Snooze,
    Stepwell,
    Stop,
    handler,
    job,
    queue_worker,
    step,
)

log = logging.getLogger("cpu")
log.addHandler(RunLogHandler(level=logging.INFO))
log.setLevel(logging.INFO)

numbers = Flow[list[int], dict[str, Any]]("numbers", base_delay=0)


@numbers.map(process=True)
def square(number: int, ctx: Context) -> tuple[int, int]:
    assert ctx.task_index >= 0 and not ctx.cancelled and ctx.deadline
    return number * number, os.getpid()


@numbers.step(process=True)
async def total(square: list[tuple[int, int]], flow_input: list[int]) -> dict[str, Any]:
    await asyncio.sleep(0)
    assert len(flow_input) == len(square)
    return {"sum": sum(n for n, _ in square), "pids": sorted({pid for _, pid in square})}


def says(ctx: Context, _: Any) -> int:
    ctx.progress(0.25, "begun")
    print("printed", flush=True)
    ctx.log("one", level="warning")
    log.info("two")
    return ctx.attempt


def fails(ctx: Context, _: Any) -> None:
    raise ZeroDivisionError(f"attempt {ctx.attempt}")


def never(ctx: Context, _: Any) -> None:
    raise KeyError("no such thing")


def hopeless(ctx: Context, _: Any) -> None:
    raise PermanentError("hopeless")


def later(ctx: Context, _: Any) -> int:
    if ctx.attempt == 1:
        raise RetryAfter(0.01, "in a moment")
    return ctx.attempt


def snoozes(ctx: Context, path: Any) -> Snooze | str:
    if Path(path).exists():
        return "awake"
    Path(path).touch()
    return Snooze(0.01)


BODIES: dict[str, Callable[[Context, Any], Any]] = {
    "pid": lambda ctx, _: os.getpid(),
    "echo": lambda ctx, value: value,
    "is no JSON": lambda ctx, _: object(),
    "exits": lambda ctx, _: os._exit(3),
    "exits politely": lambda ctx, _: sys.exit(3),
    "crashes": lambda ctx, _: ctypes.string_at(0),
    "is killed": lambda ctx, _: os.kill(os.getpid(), signal.SIGKILL),
    **{f.__name__: f for f in (says, fails, never, hopeless, later, snoozes)},
}


@job(process=True, max_attempts=3, base_delay=0, no_retry=KeyError)
def does(ctx: Context, what: str, value: Any = None) -> Any:
    """One of many things, by name."""
    return BODIES[what](ctx, value)


@job(process=True, timeout=2, max_attempts=1)
def spins(path: str) -> None:
    """It lets no other thread run, and does not look at its context."""
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


@job(process=True, timeout=timedelta(hours=1), max_attempts=1, max_crashes=0)
def holds(path: str, gil: bool = False) -> None:
    """Until it is killed, with a process of its own beside it."""
    beside = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(path).write_text(f"{os.getpid()} {beside.pid}")
    if gil:  # one long call into C, which lets nothing else run
        ctypes.PyDLL(None).sleep(600)
    beside.wait()


@job(process=True, timeout=timedelta(hours=1), max_attempts=1)
def looks(ctx: Context, path: str) -> None:
    """Notices in its thread that nobody wants it any more."""
    Path(path).write_text("begun")
    while not ctx.cancelled:
        time.sleep(0.01)
    Path(path).write_text("looked")


@job(process=True, timeout=timedelta(hours=1), max_attempts=1)
async def cleans(path: str) -> None:
    Path(path).write_text("begun")
    try:
        await asyncio.sleep(600)
    finally:
        Path(path).write_text("cleaned up")


class Slow(Exception):
    pass


class Sums(Machine, max_attempts=3, base_delay=0, timeout=5, backoff={Slow: Backoff.fixed(0.01)}):
    numbers: list[int]
    pids: list[int] = field(default_factory=list[int])
    errors: list[str] = field(default_factory=list[str])
    how: str = ""

    @step(initial=True, process=True)
    def add(self, ctx: MachineContext) -> Next | Done | Stop:
        self.pids.append(os.getpid())
        if self.how == "fails" and not self.errors:
            raise Slow("too many numbers")
        if self.how == "dies" and not self.errors:
            os._exit(9)
        if len(self.numbers) > 1:
            self.numbers = [self.numbers[0] + self.numbers[1], *self.numbers[2:]]
            return Next(self.add)
        return Next(self.tell)

    @step(process=True)
    async def tell(self, ctx: MachineContext) -> Done:
        inbox = await ctx.signals()
        return Done({"sum": self.numbers[0], "pids": self.pids, "errors": self.errors, "in": inbox})

    def on_error(self, error: BaseException, ctx: MachineContext) -> Retry:
        self.errors.append(f"{type(error).__name__} in {os.getpid()}")
        return Retry()


@dataclass
class Order:
    """A message for `handles`."""

    what: str
    path: str = ""


@queue_worker(
    "cpu",
    process=True,
    retry=RetryPolicy(limit=1),
    no_retry=KeyError,
    backoff={ZeroDivisionError: Backoff.fixed(1), ProcessDied: Backoff.fixed(1)},
)
def handles(order: Order, ctx: MessageContext) -> Any:
    facts = (ctx.queue, ctx.msg_id, ctx.read_ct, ctx.last_attempt, ctx.headers, ctx.cancelled)
    with Path(order.path).open("a") as file:
        print(order.what, os.getpid(), *facts, file=file)
    match order.what:
        case "fails":
            raise ZeroDivisionError(f"read {ctx.read_ct}")
        case "never":
            raise KeyError("no such thing")
        case "dies" if ctx.read_ct == 1:
            os._exit(3)
        case "snoozes":
            return Snooze(1)
        case _:
            return object()  # it means nothing, so it need not be JSON


@queue_worker("spins", process=True, timeout=2, retry=RetryPolicy(limit=0))
def spins_for(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


@queue_worker("holds", process=True, visibility_timeout=600)
async def holds_for(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    await asyncio.sleep(600)


def by_pattern(input: Any, ctx: Context) -> list[Any]:
    return [ctx.flow, ctx.step, input, os.getpid()]


queues = Stepwell(queues=[handles, spins_for, holds_for], name="cpu queues")
patterns = Stepwell(handlers=[handler("cpu_*", by_pattern, process=["heavy", "each"])])

app = Stepwell(
    flows=[numbers], machines=[Sums], jobs=[does, spins, holds, looks, cleans], name="cpu"
)


def a_worker_that_nobody_can_import() -> QueueWorker[..., Any]:
    @queue_worker("hidden", process=True)
    def hidden(number: int) -> None: ...

    return hidden


def a_flow_that_nobody_can_import() -> Flow[Any, Any]:
    hidden = Flow("hidden")

    @hidden.step(process=True)
    def only() -> int:
        return threading.get_ident()

    return hidden
