"""What goes around every handler of an app: one extension point, an onion."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from stepwell.define.context import Context, MachineContext, MessageContext
from stepwell.define.function import is_async
from stepwell.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of a handler, as a middleware sees it. `name` is the slug of the flow, machine or
    job, or the queue of a message; `step` is None for jobs and messages."""

    kind: Literal["flow", "machine", "job", "message"]
    name: str
    step: str | None
    task_index: int
    number: int
    last: bool
    run_id: UUID | None
    context: Context | MachineContext | MessageContext


# Goes on to the next middleware, in the end to the handler, and answers what that answered.
Proceed = Callable[[], Awaitable[Any]]
# `async def name(attempt, proceed)`: it is called around every handler of an app.
Middleware = Callable[[Attempt, Proceed], Awaitable[Any]]


def checked_middleware(given: Iterable[object]) -> tuple[Middleware, ...]:
    """Refuse what could not be awaited around a handler."""
    found: list[Any] = list(given)
    for each in found:
        if isinstance(each, type) or not is_async(each):
            raise DefinitionError(
                f"{each!r} is no middleware; write async def name(attempt, proceed), which answers "
                "with what it gets from `await proceed()`"
            )
    return tuple(found)
