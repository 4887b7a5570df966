"""Calling what somebody else wrote: bounded by a timeout, and whatever it does, this returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from stepwell.db.claim import Task
from stepwell.define.outcome import Failed
from stepwell.errors import PermanentError
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import failed, failed_as, shown
from stepwell.worker.threads import Threads


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of theirs with its arguments; one that is not async runs in a thread."""

    function: Callable[[], Any]
    is_async: bool


@dataclass(frozen=True, slots=True)
class Returned:
    value: object


@dataclass(frozen=True, slots=True)
class Raised:
    """The error, and what is kept of it if nobody knows better."""

    error: BaseException
    failed: Failed


async def guarded(
    handler: Handler, task: Task, context: TaskContext, threads: Threads
) -> Returned | Raised:
    """One call within the step's timeout. Waiting for a free thread does not count. What an async
    body returns after it swallowed its cancellation, or held the loop for too long, is too late."""
    deadline = asyncio.timeout(None)
    begins = partial(_begin, context, deadline)
    try:
        async with deadline:
            value = await _called(handler, begins, task, threads)
        if handler.is_async and _is_over(deadline):
            return _timed_out(task, context, TimeoutError())
        return Returned(value)
    except asyncio.CancelledError as error:
        if context.lost:
            raise  # the worker stops, or the claim is gone
        _forget_cancellation()
        said = "the handler let a cancellation of its own escape"
        return Raised(error, failed(error, says=said))
    except TimeoutError as error:
        if not deadline.expired():
            return _raised(error)
        return _timed_out(task, context, error)
    except BaseException as error:
        if handler.is_async and isinstance(error, KeyboardInterrupt):
            raise  # Ctrl-C reached the loop in the middle of a handler
        return _raised(error)


async def _called(
    handler: Handler, begins: Callable[[], None], task: Task, threads: Threads
) -> object:
    if handler.is_async:
        begins()
        return await handler.function()
    return await threads.run(handler.function, begins, task.claim_token)


def _begin(context: TaskContext, deadline: asyncio.Timeout) -> None:
    """The handler can start: from now on its time counts."""
    deadline.reschedule(asyncio.get_running_loop().time() + context.timeout)
    context.begins()


def _raised(error: BaseException) -> Raised:
    return Raised(error, failed(error, permanent=isinstance(error, PermanentError)))


def _is_over(deadline: asyncio.Timeout) -> bool:
    ends = deadline.when()
    return ends is not None and asyncio.get_running_loop().time() >= ends


def _timed_out(task: Task, context: TaskContext, error: TimeoutError) -> Raised:
    context.late = True
    said = f"step {task.step_slug!r} ran longer than its timeout of {context.timeout:g} s"
    return Raised(TimeoutError(said), failed_as("TimedOut", said, shown(error)))


def _forget_cancellation() -> None:
    """A handler that cancelled its own task must not cancel what we do after it."""
    current = asyncio.current_task()
    while current and current.cancelling():
        current.uncancel()
