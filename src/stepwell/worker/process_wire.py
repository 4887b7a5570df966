"""What a worker and its child processes say to each other: values, written as MessagePack, each
behind its length. Inputs and outputs inside them are the JSON that the database has."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec

from stepwell.db.claim import Task
from stepwell.db.messages import Message as QueueMessage
from stepwell.define.outcome import Completed, Failed, Moved, Outcome

LENGTH = 4  # bytes in front of a message


class Settle(msgspec.Struct, tag=True, frozen=True):
    """To a child, once: what it needs to know of the worker's settings."""

    dsn: str
    connect_timeout: float
    log_lines: int
    log_bytes: int


class Bound(msgspec.Struct, frozen=True):
    """A step that a handler serves by a pattern: what its flow says of it."""

    pattern: str
    kind: str
    dependencies: tuple[str, ...]


class Run(msgspec.Struct, tag=True, frozen=True):
    """To a child: make this attempt, with the definition of that import path."""

    path: str
    task: Task
    flow_input: str | None
    worker_id: UUID
    trace: str | None
    bound: Bound | None = None


class Handle(msgspec.Struct, tag=True, frozen=True):
    """To a child: handle this message, with the queue worker of that import path."""

    path: str
    queue: str
    message: QueueMessage
    worker_id: UUID
    trace: str | None


class Stop(msgspec.Struct, tag=True, frozen=True):
    """To a child: end soon, nobody wants the outcome. `late`: its time is over."""

    late: bool


class Began(msgspec.Struct, tag=True, frozen=True):
    """From a child: the handler's time begins, or that of on_error, which has another one."""

    timeout: float | None = None


class Note(msgspec.Struct, tag=True, frozen=True):
    """From a child: what its body said by ctx.progress (share, message, when) and ctx.log (when,
    level, message), and how many lines were too many."""

    share: tuple[float | None, str | None, float] | None
    lines: list[tuple[float, str, str]]
    dropped: int


class Ended(msgspec.Struct, tag=True, frozen=True):
    """From a child: the outcome, ready to be written."""

    kind: str
    facts: dict[str, Any]


Message = Settle | Run | Handle | Stop | Began | Note | Ended
_decode = msgspec.msgpack.Decoder(Message).decode
_encode = msgspec.msgpack.Encoder().encode
_KINDS: dict[str, Any] = {"completed": Completed, "failed": Failed, "moved": Moved}


async def read(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None at the end, also at one in the middle of a message."""
    try:
        size = int.from_bytes(await reader.readexactly(LENGTH), "big")
        return _decode(await reader.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def written(message: Message) -> bytes:
    body = _encode(message)
    return len(body).to_bytes(LENGTH, "big") + body


def ended(outcome: Outcome) -> Ended:
    """An outcome as a message. What was raised stays behind: it is judged already."""
    kind = next(kind for kind, cls in _KINDS.items() if isinstance(outcome, cls))
    names = [name for name in type(outcome).__dataclass_fields__ if name != "errors"]
    return Ended(kind, {name: getattr(outcome, name) for name in names})


def outcome_of(message: Ended) -> Outcome:
    return _KINDS[message.kind](**message.facts)
