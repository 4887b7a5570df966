"""Calling a handler with the app's middleware around it: the first in the list is the outermost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

from stepwell.db.claim import Task
from stepwell.define.middleware import Attempt, Middleware, Proceed
from stepwell.worker.body import Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.guard import (
    Bounds,
    Handler,
    Raised,
    Returned,
    guarded,
    let_escape,
    raised_of,
)

Inner = Callable[[], Awaitable[Returned | Raised]]


async def call(
    task: Task, handler: Handler, context: TaskContext, hands: Hands
) -> Returned | Raised:
    """One call of a handler of a task, as `guarded` says; without middleware it is nothing more."""
    inner = partial(guarded, handler, context, hands.threads)
    if not hands.middleware:
        return await inner()
    return await around(hands.middleware, attempt_of(task, context), context, inner)


async def around(
    middleware: Sequence[Middleware], attempt: Attempt, bounds: Bounds, inner: Inner
) -> Returned | Raised:
    """The onion. What a handler did comes out of `proceed()` as if it had been called there: its
    result, its error, or TimeoutError. What comes out of the outermost is what counts."""
    core = Core(inner)
    proceed: Proceed = core.proceed
    for each in reversed(middleware):
        proceed = partial(each, attempt, proceed)
    try:
        value = await proceed()
    except asyncio.CancelledError as error:
        if bounds.lost:
            raise  # the worker stops, or the claim is gone
        return core.ended_with(error) or let_escape(error)
    except KeyboardInterrupt:
        raise  # Ctrl-C reached the loop in the middle of it
    except BaseException as error:
        return core.ended_with(error) or raised_of(error)
    return Returned(value)


class Core:
    """The call in the middle, which can be made once."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner
        self._begun = False
        self._ended: Returned | Raised | None = None

    async def proceed(self) -> Any:
        if self._begun:
            raise RuntimeError(
                "a middleware called proceed() twice; one attempt calls its handler once"
            )
        self._begun = True
        self._ended = await self._inner()
        if isinstance(self._ended, Raised):
            raise self._ended.error
        return self._ended.value

    def ended_with(self, error: BaseException) -> Raised | None:
        """What is known of an error that the handler raised, and that came through as it was."""
        if isinstance(self._ended, Raised) and self._ended.error is error:
            return self._ended
        return None


def attempt_of(task: Task, context: TaskContext) -> Attempt:
    return Attempt(
        kind=cast("Any", task.kind),
        name=task.flow_slug,
        step=None if task.kind == "job" else task.step_slug,
        task_index=task.task_index,
        number=task.attempt,
        last=context.last_attempt,
        run_id=task.run_id,
        context=context,
    )
