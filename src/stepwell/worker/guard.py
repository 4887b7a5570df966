"""Calling what somebody else wrote: bounded by a timeout, and whatever it does, this returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any, Protocol

from stepwell.define.outcome import Failed
from stepwell.errors import PermanentError
from stepwell.worker.failure import failed, failed_as, shown
from stepwell.worker.threads import Threads


class Bounds(Protocol):
    """What a call is held to: of a task its claim and its timeout, of a message the same."""

    timeout: float  # seconds; may be infinite
    late: bool

    @property
    def what(self) -> str:
        """What is called, as a message names it."""
        ...

    @property
    def token(self) -> int:
        """Which claim a thread is busy for."""
        ...

    @property
    def lost(self) -> bool: ...

    def begins(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of theirs with its arguments; one that is not async runs in a thread. One that is
    `elsewhere` is awaited, and told what to call when it begins there."""

    function: Callable[..., Any]
    is_async: bool
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Returned:
    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """The error, and what is kept of it if nobody knows better."""

    error: BaseException
    failed: Failed


async def guarded(handler: Handler, bounds: Bounds, threads: Threads) -> Returned | Raised:
    """One call within its timeout. Waiting for a free thread does not count. What an async
    body returns after it swallowed its cancellation, or held the loop for too long, is too late."""
    deadline = asyncio.timeout(None)
    begins = partial(_begin, bounds, deadline)
    try:
        async with deadline:
            value = await _called(handler, begins, bounds.token, threads)
        if handler.is_async and _is_over(deadline):
            return _timed_out(bounds, TimeoutError())
        return Returned(value)
    except asyncio.CancelledError as error:
        if bounds.lost:
            raise  # the worker stops, or the claim is gone
        return let_escape(error)
    except TimeoutError as error:
        if not deadline.expired():
            return raised_of(error)
        return _timed_out(bounds, error)
    except BaseException as error:
        if handler.is_async and isinstance(error, KeyboardInterrupt):
            raise  # Ctrl-C reached the loop in the middle of a handler
        return raised_of(error)


async def _called(
    handler: Handler, begins: Callable[[], None], token: int, threads: Threads
) -> object:
    if handler.elsewhere:
        return await handler.function(begins)
    if handler.is_async:
        begins()
        return await handler.function()
    return await threads.run(handler.function, begins, token)


def _begin(bounds: Bounds, deadline: asyncio.Timeout) -> None:
    """The handler can start: from now on its time counts."""
    if isfinite(bounds.timeout):
        deadline.reschedule(asyncio.get_running_loop().time() + bounds.timeout)
    bounds.begins()


def let_escape(error: asyncio.CancelledError) -> Raised:
    """A cancellation that is not ours."""
    _forget_cancellation()
    return Raised(error, failed(error, says="the handler let a cancellation of its own escape"))


def raised_of(error: BaseException) -> Raised:
    """What is kept of an error of theirs."""
    return Raised(error, failed(error, permanent=isinstance(error, PermanentError)))


def _is_over(deadline: asyncio.Timeout) -> bool:
    ends = deadline.when()
    return ends is not None and asyncio.get_running_loop().time() >= ends


def _timed_out(bounds: Bounds, error: TimeoutError) -> Raised:
    bounds.late = True
    said = f"{bounds.what} ran longer than its timeout of {bounds.timeout:g} s"
    late = TimeoutError(said)
    return Raised(late, replace(failed_as("TimedOut", said, shown(error)), errors=(late,)))


def _forget_cancellation() -> None:
    """A handler that cancelled its own task must not cancel what we do after it."""
    current = asyncio.current_task()
    while current and current.cancelling():
        current.uncancel()
