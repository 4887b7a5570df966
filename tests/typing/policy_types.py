# pyright: strict
# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers know of retry policies, middleware and bodies in processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, assert_type, cast

from stepwell import (
    Attempt,
    Backoff,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    Middleware,
    PermanentError,
    Proceed,
    RetryAfter,
    RunFailed,
    Stepwell,
    job,
    queue_worker,
    step,
)


class Busy(Exception): ...


def pause(attempt: int) -> timedelta: ...


calls = Flow[str, dict[str, int]](
    "calls", backoff=Backoff.exponential(1, max_delay=timedelta(minutes=5)), no_retry=ValueError
)


@calls.step(
    backoff={Busy: Backoff.fixed(60), OSError: pause}, no_retry=(KeyError, Busy), process=True
)
def call(flow_input: str, ctx: Context) -> int: ...


assert_type(call("x", cast("Context", None)), int)
assert_type(Backoff.linear(5).delay(1), float)


@job(backoff=pause, no_retry=PermanentError, process=True)
def compute(number: int) -> int: ...


@queue_worker("letters", no_retry=(ValueError,))
def read(letter: str) -> None: ...


class Order(Machine, backoff={Busy: pause}, no_retry=RunFailed):
    @step(initial=True, process=True, backoff=Backoff.fixed(5))
    def begin(self, ctx: MachineContext) -> Done:
        raise RetryAfter(timedelta(seconds=5), "later")


async def timing(attempt: Attempt, proceed: Proceed) -> Any:
    assert_type(attempt.number, int)
    assert_type(proceed, Callable[[], Awaitable[Any]])
    return await proceed()


async def alone(attempt: Attempt) -> Any: ...
def blocking(attempt: Attempt, proceed: Proceed) -> int: ...


one: Middleware = timing
app = Stepwell(flows=[calls], machines=[Order], jobs=[compute], queues=[read], middleware=[one])
assert_type(app.middleware, tuple[Middleware, ...])

# Each ignore below is needed: pyright strict reports one that is not.
Stepwell(middleware=[alone])  # pyright: ignore[reportArgumentType]
Stepwell(middleware=[blocking])  # pyright: ignore[reportArgumentType]
Flow("a", backoff="square")  # pyright: ignore[reportArgumentType]
Flow("a", backoff={ValueError: 5})  # pyright: ignore[reportArgumentType]
Flow("a", backoff={"Busy": pause})  # pyright: ignore[reportArgumentType]
Flow("a", no_retry=Busy())  # pyright: ignore[reportArgumentType]
job(process="yes")  # pyright: ignore[reportArgumentType]
job(no_retry=["Busy"])  # pyright: ignore[reportArgumentType]
Backoff.fixed(5, max_delay=7)  # pyright: ignore[reportCallIssue]
Backoff.linear("5")  # pyright: ignore[reportArgumentType]
RetryAfter("soon")  # pyright: ignore[reportArgumentType]
