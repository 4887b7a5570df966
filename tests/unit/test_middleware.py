"""The onion around a handler: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

import pytest

from stepwell import Attempt, DefinitionError, PermanentError, Proceed, Stepwell
from stepwell.define.outcome import Failed
from stepwell.worker.guard import Handler, Raised, Returned, guarded
from stepwell.worker.middleware import around
from stepwell.worker.threads import Threads

ATTEMPT = cast("Attempt", object())
seen: ContextVar[str] = ContextVar("seen", default="nothing")


class Bounds:
    what, token, lost, late, timeout = "step 'a'", 1, False, False, 30.0

    def begins(self) -> None:
        pass


async def run(
    handler: Callable[[], Any], *middleware: Any, bounds: Bounds | None = None
) -> Returned | Raised:
    bounds = bounds or Bounds()
    threads = Threads(1, lambda _token, _change: None)
    called = Handler(handler, inspect.iscoroutinefunction(handler))
    try:
        return await around(middleware, ATTEMPT, bounds, partial(guarded, called, bounds, threads))
    finally:
        threads.close()


def failure_of(ended: Returned | Raised) -> Failed:
    assert isinstance(ended, Raised)
    return ended.failed


async def test_the_first_is_the_outermost_and_each_sees_the_result() -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        async def middleware(attempt: Attempt, proceed: Proceed) -> Any:
            assert attempt is ATTEMPT
            order.append(f"into {name}")
            result = await proceed()
            order.append(f"out of {name} with {result}")
            return f"{result}{name}"

        return middleware

    ended = await run(lambda: order.append("handler") or "x", named("a"), named("b"))
    assert ended == Returned("xba")
    assert order == ["into a", "into b", "handler", "out of b with x", "out of a with xb"]


async def test_what_one_sets_is_seen_by_handlers_in_threads_and_in_the_loop() -> None:
    async def setting(attempt: Attempt, proceed: Proceed) -> Any:
        seen.set("something")
        return await proceed()

    async def later() -> str:
        return seen.get()

    assert await run(seen.get, setting) == Returned("something")
    assert await run(later, setting) == Returned("something")


async def test_an_error_goes_through_as_it_was() -> None:
    caught: list[BaseException] = []

    async def watching(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except BaseException as error:
            caught.append(error)
            raise

    def wrong() -> None:
        raise PermanentError("no")

    failed = failure_of(await run(wrong, watching))
    assert (failed.error_type, failed.message, failed.permanent) == ("PermanentError", "no", True)
    assert "in wrong" in failed.traceback
    assert "watching" not in failed.traceback
    assert failed.errors == tuple(caught)


async def test_a_timeout_comes_out_as_a_timeout() -> None:
    caught: list[str] = []

    async def watching(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except TimeoutError as error:
            caught.append(str(error))
            raise

    async def slow() -> None:
        await asyncio.sleep(60)

    bounds = Bounds()
    bounds.timeout = 0.01
    failed = failure_of(await run(slow, watching, bounds=bounds))
    assert failed.error_type == "TimedOut"
    assert [failed.message] == caught


async def test_one_may_answer_in_place_of_the_handler_or_after_its_error() -> None:
    async def instead(attempt: Attempt, proceed: Proceed) -> Any:
        return "instead"

    async def after(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except ZeroDivisionError:
            return 0

    assert await run(lambda: 1 / 0, instead) == Returned("instead")
    assert await run(lambda: 1 / 0, after) == Returned(0)


async def test_an_error_of_its_own_fails_the_attempt() -> None:
    async def before(attempt: Attempt, proceed: Proceed) -> Any:
        raise RuntimeError("not today")

    async def another(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            return await proceed()
        except ZeroDivisionError as error:
            raise PermanentError("hopeless") from error

    async def twice(attempt: Attempt, proceed: Proceed) -> Any:
        await proceed()
        return await proceed()

    async def escapes(attempt: Attempt, proceed: Proceed) -> Any:
        raise asyncio.CancelledError

    assert failure_of(await run(lambda: 1, before)).message == "not today"
    hopeless = failure_of(await run(lambda: 1 / 0, another))
    assert (hopeless.error_type, hopeless.permanent) == ("PermanentError", True)
    assert "ZeroDivisionError" in hopeless.traceback
    assert "called proceed() twice" in failure_of(await run(lambda: 1, twice)).message
    assert "let a cancellation" in failure_of(await run(lambda: 1, escapes)).message


async def test_a_lost_claim_goes_through_all_of_it() -> None:
    left: list[str] = []

    async def cleaning(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            return await proceed()
        finally:
            left.append("cleaned up")

    bounds = Bounds()
    begun = asyncio.Event()

    async def long() -> None:
        begun.set()
        await asyncio.sleep(60)

    running = asyncio.create_task(run(long, cleaning, bounds=bounds))
    await begun.wait()
    bounds.lost = True
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left == ["cleaned up"]


class Callable_:
    async def __call__(self, attempt: Attempt, proceed: Proceed) -> Any:
        return await proceed()


async def plain(more: int, attempt: Attempt, proceed: Proceed) -> Any:
    return await proceed()


def test_what_can_and_what_cannot_be_one() -> None:
    good = [Callable_(), partial(plain, 1)]
    assert Stepwell(middleware=good).middleware == tuple(good)

    def sync(attempt: Attempt, proceed: Proceed) -> Any:
        return proceed()

    for bad in (sync, Callable_, "timing", None):
        with pytest.raises(DefinitionError, match="no middleware; write async def"):
            Stepwell(middleware=[cast("Any", bad)])
