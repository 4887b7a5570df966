"""One message in hand: what its handler can ask, and how its handling ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from math import ceil, inf
from typing import Any
from uuid import UUID

from stepwell.db.messages import Ending, Message
from stepwell.define.middleware import Attempt, Middleware
from stepwell.define.outcome import Await, Cancel, Done, Failed, Next, Retry, Snooze, Spawn, Stop
from stepwell.define.payload import decoder
from stepwell.define.queue_worker import QueueWorker
from stepwell.errors import PayloadError
from stepwell.worker.failure import described, failed, failed_as
from stepwell.worker.guard import Handler, Raised, guarded
from stepwell.worker.middleware import around
from stepwell.worker.policy import Policy
from stepwell.worker.threads import Threads

AnyQueueWorker = QueueWorker[..., Any]

# a message may be read so often more than its policy allows: its worker was lost, or told to stop
UNFINISHED = 3
OUTCOMES = (Await, Cancel, Done, Next, Retry, Snooze, Spawn, Stop)

_headers = decoder(Any)


class Held:
    """Implements stepwell.MessageContext, and the bounds of the handler's call."""

    def __init__(self, definition: AnyQueueWorker, message: Message, worker_id: UUID) -> None:
        self.definition = definition
        self.message = message
        self.worker_id = worker_id
        self.visible_at = message.visible_at  # as far as we know; others see it from then on
        self.timeout = inf if definition.timeout is None else definition.timeout
        self.late = False
        self.gone = False  # it is somebody else's now
        self.over = False  # its handler has ended
        self.body: asyncio.Task[None] | None = None
        self._released = False

    def lose(self) -> None:
        """Somebody else has it: stop the handler, forget what it says."""
        self.gone = True
        self._cancel()

    def release(self) -> None:
        """It goes back to the queue: stop the handler."""
        self._released = True
        self._cancel()

    @property
    def what(self) -> str:
        return f"the worker of queue {self.queue!r}"

    @property
    def token(self) -> int:
        return self.msg_id

    @property
    def lost(self) -> bool:
        return self.gone or self._released

    def begins(self) -> None:
        """Nothing is to be told."""

    @property
    def queue(self) -> str:
        return self.definition.queue

    @property
    def msg_id(self) -> int:
        return self.message.msg_id

    @property
    def read_ct(self) -> int:
        return self.message.read_ct

    @property
    def enqueued_at(self) -> datetime:
        return self.message.enqueued_at

    @cached_property
    def headers(self) -> Any:
        return None if self.message.headers is None else _headers(self.message.headers)

    @property
    def last_attempt(self) -> bool:
        return self.read_ct >= self.definition.retry.tries

    @property
    def cancelled(self) -> bool:
        return self.late or self.lost

    def _cancel(self) -> None:
        if self.body is not None:
            self.body.cancel()


@dataclass(frozen=True, slots=True)
class Handled:
    """An ending that is to be written, and how long it took."""

    held: Held
    ending: Ending
    seconds: float


async def handle(held: Held, threads: Threads, middleware: tuple[Middleware, ...] = ()) -> Ending:
    """One try. Only a message that is lost or goes back ends it with an exception."""
    try:
        failure = await attempt(held, threads, middleware)
    except Exception as error:  # a mistake of ours harms this message and not the worker
        failure = failed(error)
    name = (held.msg_id, held.read_ct)
    if failure is None:
        return Ending(*name, "archived")
    said = (failure.error_type, failure.message, failure.traceback or None)
    final, asked = verdict(failure, held.definition)
    if final or held.last_attempt:
        return Ending(*name, "dead", 0, *said)
    pause = held.definition.retry.delay(held.read_ct) if asked is None else asked
    return Ending(*name, "retry", pause, *said)


def verdict(failure: Failed, definition: AnyQueueWorker) -> tuple[bool, int | None]:
    """Whether no retry can help, and the pause that the error itself asked for."""
    judged = Policy(definition.no_retry).judged(failure, attempt=1)
    assert isinstance(judged, Failed)
    return judged.permanent, None if judged.delay is None else ceil(judged.delay)


async def attempt(
    held: Held, threads: Threads, middleware: tuple[Middleware, ...]
) -> Failed | None:
    """Call the handler; None: it returned."""
    definition = held.definition
    if held.read_ct > definition.retry.tries + UNFINISHED:
        said = (
            f"it was read {held.read_ct} times, and its last tries came to no end: "
            "their workers were lost, or told to stop"
        )
        return failed_as("NeverFinished", said, permanent=True)
    try:
        value = definition.read(held.message.message or "null")
    except Exception as error:  # a type of theirs may refuse in any way; PayloadError is final
        return failed(error, permanent=isinstance(error, PayloadError))
    arguments: dict[str, Any] = {definition.message_name: value}
    if definition.context_name:
        arguments[definition.context_name] = held
    handler = Handler(partial(definition.handler, **arguments), definition.is_async)
    inner = partial(guarded, handler, held, threads)
    ended = await (around(middleware, attempt_of(held), held, inner) if middleware else inner())
    if isinstance(ended, Raised):
        return ended.failed
    if isinstance(ended.value, OUTCOMES):
        said = (
            f"{held.what} returned {described(ended.value)}, which means nothing for a message; "
            "return to archive it, or raise to try again"
        )
        return failed_as("BadOutcome", said, permanent=True)
    return None


def attempt_of(held: Held) -> Attempt:
    return Attempt(
        kind="message",
        name=held.queue,
        step=None,
        task_index=0,
        number=held.read_ct,
        last=held.last_attempt,
        run_id=None,
        context=held,
    )


def back(held: Held) -> Ending:
    """To the queue, for whoever reads next."""
    return Ending(held.msg_id, held.read_ct, "retry")
