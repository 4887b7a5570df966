"""One try to handle a message: its handler is called, and what follows is decided."""

from __future__ import annotations

from functools import partial
from math import ceil
from typing import Any

from stepwell.db.messages import Ending
from stepwell.define.middleware import Attempt
from stepwell.define.outcome import Await, Cancel, Done, Failed, Next, Retry, Snooze, Spawn, Stop
from stepwell.errors import PayloadError
from stepwell.worker.body import Hands
from stepwell.worker.failure import described, failed, failed_as
from stepwell.worker.guard import Handler, Raised, guarded
from stepwell.worker.middleware import around
from stepwell.worker.policy import Policy
from stepwell.worker.queue_message import AnyQueueWorker, Held, archived
from stepwell.worker.queue_process import in_process
from stepwell.worker.queue_transaction import in_transaction

# a message may be read so often more than its policy allows: its worker was lost, or told to stop
UNFINISHED = 3
OUTCOMES = (Await, Cancel, Done, Next, Retry, Snooze, Spawn, Stop)


async def handle(held: Held, hands: Hands) -> Ending:
    """One try. Only a message that is lost or goes back ends it with an exception."""
    try:
        if held.definition.transactional:
            failure = await in_transaction(held, hands, attempt)
        else:
            failure = await attempt(held, hands)
    except Exception as error:  # a mistake of ours harms this message and not the worker
        failure = failed(error)
    if held.settled or failure is None:
        return archived(held)
    name = (held.msg_id, held.read_ct)
    said = (failure.error_type, failure.message, failure.traceback or None)
    final, asked = verdict(failure, held)
    if final or held.last_attempt:
        return Ending(*name, "dead", 0, *said)
    pause = held.definition.retry.delay(held.read_ct) if asked is None else asked
    return Ending(*name, "retry", pause, *said)


def verdict(failure: Failed, held: Held) -> tuple[bool, int | None]:
    """Whether no retry can help, and the pause that the error itself, or a backoff, asks for."""
    judged = policy_of(held.definition).judged(failure, held.read_ct)
    assert isinstance(judged, Failed)
    return judged.permanent, None if judged.delay is None else ceil(judged.delay)


def policy_of(definition: AnyQueueWorker) -> Policy:
    by_error = () if definition.backoff_by is None else (definition.backoff_by,)
    return Policy(definition.no_retry, definition.backoff, by_error)


async def attempt(held: Held, hands: Hands) -> Failed | None:
    """Call the handler; None: it returned."""
    definition = held.definition
    if held.read_ct > definition.retry.tries + UNFINISHED:
        said = (
            f"it was read {held.read_ct} times, and its last tries came to no end: "
            "their workers were lost, or told to stop"
        )
        return failed_as("NeverFinished", said, permanent=True)
    try:
        handler = handler_of(held, hands)
    except Exception as error:  # a type of theirs may refuse in any way; PayloadError is final
        return failed(error, permanent=isinstance(error, PayloadError))
    inner = partial(guarded, handler, held, hands.threads)
    middleware = hands.middleware
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


def handler_of(held: Held, hands: Hands) -> Handler:
    """The handler with its message. One that runs in a child process reads it there."""
    definition = held.definition
    if definition.process and hands.processes is not None:
        return in_process(held, hands.processes, hands.linger)
    value = definition.read(held.message.message or "null")
    arguments: dict[str, Any] = {definition.message_name: value}
    if definition.context_name:
        arguments[definition.context_name] = held
    handler = Handler(partial(definition.handler, **arguments), definition.is_async)
    return handler if held.transaction is None else held.transaction.around(handler, held)


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
