"""The transaction that a transactional handler writes in, and that its outcome commits with.

A `Trunk` is the worker's: it begins the transaction and ends it. What the handler gets is lent: a
connection of psycopg on the same session, which can do all but end the transaction, and nothing
any more once the handler's time is over. So what a handler leaves behind, a task or a thread that
still has its connection, cannot write into the transaction of the next one.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString, NoReturn, TypeVar
from uuid import UUID

from psycopg import AsyncConnection, Connection, Error
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Composed, Literal

from stepwell.db.call import Call
from stepwell.errors import TransactionError

Answer = TypeVar("Answer")

COMMIT: LiteralString = "commit"
ROLLBACK: LiteralString = "rollback"
LAST_CHANCE = 30  # seconds that Postgres waits longer for a worker than the worker would
LONGEST = 2**31 - 1  # milliseconds that a setting of Postgres holds
WITH_LIMIT = 170000  # the first version that bounds a whole transaction
OVER = "the handler has ended, and with it its transaction; use the connection only while it runs"


class Trunk(AsyncConnection[Any]):
    """The worker's end of a connection that handlers are lent, one after the other."""

    def __del__(self, *_: Any) -> None:
        """One that was cut may still be in a thread's hands; it is closed with the last of them."""

    async def begin(self, token: int, timeout: float) -> None:
        """Begin the transaction of a claim, or of a message by its id. A worker that hangs does not
        keep it open."""
        await self.execute(beginning(token, timeout, self.info.server_version))

    @property
    def status(self) -> TransactionStatus:
        return self.info.transaction_status

    def cut(self) -> None:
        """Break it, whoever is using it: Postgres rolls back. `close` would pull it from under a
        thread that is in the middle of a statement."""
        if not self.closed:
            self._keep(asyncio.ensure_future(self._cut()))

    async def _cut(self) -> None:
        with suppress(Exception):
            await self.cancel_safe(timeout=2.0)  # Postgres looks up only between two statements
        with suppress(OSError, Error), socket.fromfd(self.pgconn.socket, 0, 0) as same:
            same.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _keep(task: asyncio.Future[None]) -> None:
        _cutting.add(task)
        task.add_done_callback(_cutting.discard)


_cutting: set[asyncio.Future[None]] = set()


class AsyncLent(AsyncConnection[Any]):
    """What an async handler gets."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk.pgconn)
        self._prepared = trunk._prepared  # statements have their names in the session
        self.prepare_threshold = trunk.prepare_threshold
        self.over = False

    def __del__(self, *_: Any) -> None:
        """The session is the trunk's."""

    async def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        if self.over:
            raise TransactionError(OVER)
        return await super().wait(gen, *args, **kwargs)

    async def commit(self) -> NoReturn:
        raise ends("commit")

    async def rollback(self) -> NoReturn:
        raise ends("rollback")

    async def close(self) -> NoReturn:
        raise ends("close")


class Lent(Connection[Any]):
    """What a sync handler gets."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__(trunk.pgconn)
        self._prepared = trunk._prepared
        self.prepare_threshold = trunk.prepare_threshold
        self.over = False

    def __del__(self, *_: Any) -> None:
        """The session is the trunk's."""

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        if self.over:
            raise TransactionError(OVER)
        return super().wait(gen, *args, **kwargs)

    def commit(self) -> NoReturn:
        raise ends("commit")

    def rollback(self) -> NoReturn:
        raise ends("rollback")

    def close(self) -> NoReturn:
        raise ends("close")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an outcome (`committed` or `stale`), or a queue where work became ready."""

    verdict: str
    queue: str | None


def commit_transactional(
    worker: UUID,
    message_id: int,
    token: int,
    outcome: str,
    output: str | None,
    error_type: str | None,
    error_message: str | None,
    traceback: str | None,
) -> Call[Verdict]:
    """The fields of one `Entry`, inside the transaction that its handler wrote in."""
    return Call(
        "select * from pgflow.commit_transactional(worker => %s, message_id => %s::bigint,"
        " token => %s::bigint, outcome => %s, output => %s::text::jsonb, error_type => %s,"
        " error_message => %s, traceback => %s)",
        (worker, message_id, token, outcome, output, error_type, error_message, traceback),
        Verdict,
    )


@dataclass(frozen=True, slots=True)
class Archived:
    """Whether the message was still its reader's."""

    archived: bool


def archive_transactional(queue: str, msg_id: int, read_ct: int) -> Call[Archived]:
    """Inside the transaction that the message's handler wrote in."""
    return Call(
        "select pgflow.archive_transactional(queue => %s, msg_id => %s::bigint,"
        " read_ct => %s::int) as archived",
        (queue, msg_id, read_ct),
        Archived,
    )


def beginning(token: int, timeout: float, server_version: int) -> Composed:
    longest = min(int((timeout + LAST_CHANCE) * 1000), LONGEST)
    text = SQL(
        "begin isolation level read committed read write;"
        " set local pgflow.claim = {token};"
        " set local idle_in_transaction_session_timeout = {longest}"
    )
    begun = text.format(token=Literal(token), longest=Literal(longest))
    if server_version < WITH_LIMIT:
        return begun
    return begun + SQL("; set local transaction_timeout = {}").format(Literal(longest))


def ends(what: str) -> TransactionError:
    return TransactionError(
        f"{what}() on the connection of a transactional handler: its worker commits what the "
        "handler wrote, together with its outcome, and rolls it back when the handler raises; to "
        "undo a part, use connection.transaction(), which is a savepoint here"
    )
