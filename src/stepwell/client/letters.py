"""Messages as a client sends them, and dead letters as it sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.client.reading import LONGEST_LIST, checked_limit, value_of
from stepwell.db.call import Call
from stepwell.db.messages import (
    DeadLetterRow,
    Forgotten,
    QueueRow,
    Resent,
    Sent,
    ensure_queue,
    forget_dead_letters,
    list_dead_letters,
    resend_dead_letters,
    send_messages,
)
from stepwell.define.duration import Duration, seconds
from stepwell.define.message_queue import check_queue_name
from stepwell.define.payload import encode
from stepwell.errors import DefinitionError, PayloadError

MOST_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that no try could deal with, and why the last one failed. `msg_id` and `read_ct`
    are those that it had in its queue, whose archive still has it."""

    id: int
    queue: str
    msg_id: int
    read_ct: int
    enqueued_at: datetime
    died_at: datetime
    message: Any
    headers: Any
    error_type: str
    error_message: str
    traceback: str | None
    worker_id: UUID | None


def letter_of(row: DeadLetterRow) -> DeadLetter:
    values = {"message": value_of(row.message), "headers": value_of(row.headers)}
    return DeadLetter(**{**asdict(row), **values})


def made(queue: str) -> Call[QueueRow]:
    return ensure_queue(checked_queue(queue))


def sent(
    queue: str,
    messages: Sequence[object],
    headers: Sequence[object] | None,
    delay: Duration,
) -> Call[Sent]:
    """The call that sends; PayloadError for what is not JSON."""
    checked_queue(queue)
    checked_limit(len(messages), MOST_AT_ONCE)
    if headers is not None and len(headers) != len(messages):
        raise PayloadError(
            f"there are {len(messages)} messages and {len(headers)} headers; give one for each "
            "message (None for none), or headers=None"
        )
    beside = None if headers is None else [None if h is None else text_of(h) for h in headers]
    return send_messages(queue, [text_of(m) for m in messages], beside, checked_delay(delay))


def checked_queue(name: str) -> str:
    try:
        return check_queue_name(name, "queue")
    except DefinitionError as error:  # the same check as where it is part of a definition
        raise PayloadError(str(error)) from error


def checked_delay(delay: Duration) -> float:
    try:
        return seconds(delay, "delay")
    except DefinitionError as error:
        raise PayloadError(str(error)) from error


def text_of(value: object) -> str:
    return encode(value).decode()


def listed_letters(queue: str | None, before: int | None, limit: int) -> Call[DeadLetterRow]:
    return list_dead_letters(queue, before, checked_limit(limit, LONGEST_LIST))


def resent(
    queue: str | None, ids: Sequence[int] | None, limit: int, actor: str | None
) -> Call[Resent]:
    return resend_dead_letters(queue, checked_ids(ids), checked_limit(limit, LONGEST_LIST), actor)


def checked_ids(ids: Sequence[int] | None) -> list[int] | None:
    if ids is None:
        return None
    if isinstance(ids, str | bytes) or not all(type(each) is int for each in ids):
        raise PayloadError(f"ids is {ids!r}; it must be a list of the `id`s of dead letters")
    return list(ids)


def forgotten(
    queue: str | None, ids: Sequence[int] | None, limit: int, actor: str | None
) -> Call[Forgotten]:
    return forget_dead_letters(queue, checked_ids(ids), checked_limit(limit, LONGEST_LIST), actor)
