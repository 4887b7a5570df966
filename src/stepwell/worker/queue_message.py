"""One message in hand: what its handler can ask, and how its handling ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import inf, isfinite
from typing import TYPE_CHECKING, Any
from uuid import UUID

from stepwell.db.messages import Ending, Message
from stepwell.define.payload import decoder
from stepwell.define.queue_worker import QueueWorker
from stepwell.errors import TransactionError

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection

    from stepwell.worker.transaction import Transaction

AnyQueueWorker = QueueWorker[..., Any]

NEVER = datetime.max.replace(tzinfo=UTC)
NO_RUN = (
    "ctx.{name}: a message is no run, so nothing keeps what its handler says; use Python's logging"
)

_headers = decoder(Any)


class Held:
    """Implements stepwell.MessageContext, and the bounds of the handler's call."""

    def __init__(self, definition: AnyQueueWorker, message: Message, worker_id: UUID) -> None:
        self.definition = definition
        self.message = message
        self.worker_id = worker_id
        self.visible_at = message.visible_at  # as far as we know; others see it from then on
        self.timeout = inf if definition.timeout is None else definition.timeout
        self.deadline = NEVER
        self.late = False
        self.gone = False  # it is somebody else's now
        self.over = False  # its handler has ended
        self.closing = False  # its transaction is about to commit
        self.settled = False  # it is archived, with what its handler wrote
        self.transaction: Transaction | None = None
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
        """The handler starts now; before, it may have waited for a free thread or process."""
        if isfinite(self.timeout):
            self.deadline = datetime.now(UTC) + timedelta(seconds=self.timeout)

    def heard(
        self,
        share: tuple[float | None, str | None, float] | None,
        lines: Sequence[tuple[float, str, str]],
        dropped: int,
    ) -> None:
        """A child process keeps nothing of a message either."""

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

    @property
    def connection(self) -> AsyncConnection[Any]:
        return self._transaction_of("connection").connection

    @property
    def sync_connection(self) -> Connection[Any]:
        return self._transaction_of("sync_connection").sync_connection

    def _transaction_of(self, name: str) -> Transaction:
        if self.transaction is None:
            raise TransactionError(
                f"ctx.{name}: {self.what} is not transactional; say transactional=True where it is "
                "defined"
            )
        return self.transaction

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name in ("log", "progress"):
                raise AttributeError(NO_RUN.format(name=name))
            raise AttributeError(f"the context of a message has no {name!r}")

    def _cancel(self) -> None:
        if self.body is not None:
            self.body.cancel()


@dataclass(frozen=True, slots=True)
class Handled:
    """An ending that is to be written, and how long it took."""

    held: Held
    ending: Ending
    seconds: float


def archived(held: Held) -> Ending:
    return Ending(held.msg_id, held.read_ct, "archived")


def back(held: Held) -> Ending:
    """To the queue, for whoever reads next."""
    return Ending(held.msg_id, held.read_ct, "retry")
