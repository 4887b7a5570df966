"""The transaction of one try of a transactional handler, from its begin to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from stepwell.db.connect import ROLLED_BACK
from stepwell.db.transaction import (
    COMMIT,
    ROLLBACK,
    AsyncLent,
    Lent,
    Trunk,
)
from stepwell.define.outcome import Failed
from stepwell.errors import StepwellError, TransactionError
from stepwell.worker.failure import failed, failed_as
from stepwell.worker.guard import Bounds, Handler
from stepwell.worker.transactions import Transactions

Answer = TypeVar("Answer")

LATE = 1.0  # seconds past its timeout until a handler that does not stop is cut off
STRAYS = 1.0  # seconds for what a handler left behind to be done with its connection
LONGEST_COMMIT = 20.0  # within the 30 by which a task may outlive its step's timeout
LONGEST_ROLLBACK = 5.0
PASSING = ("40", "53", "55", "57")  # of a commit: rollbacks, no resources, locks, cancellations

ABORTED = (
    "the handler returned, but a statement of it had failed, and after that Postgres only rolls "
    "back; let what fails raise, or put it into connection.transaction(), a savepoint"
)
ENDED = (
    "the handler has ended its transaction by itself, with a commit or a rollback in SQL; what it "
    "committed stays. The worker commits what a transactional handler wrote, with its outcome"
)
IN_USE = (
    "the handler returned while something that it had started still used its connection; wait for "
    "it before you return"
)
NOT_YET = "the transaction begins with the handler; before that there is no connection"
NOT_SYNC = "ctx.connection is for async handlers; in a sync one it is ctx.sync_connection"
NOT_ASYNC = "ctx.sync_connection is for sync handlers; in an async one it is ctx.connection"


class End(Protocol):
    """What a transaction ends with: how its handler ended, written under its claim."""

    async def write(self, trunk: Trunk) -> bool:
        """False: the claim is gone, and nothing is to be committed."""
        ...

    async def held(self, pool: Transactions) -> bool:
        """Whether the claim is still ours; asked when the answer to the commit was lost."""
        ...


class Transaction:
    """That of one try. `passing`: what ended it was no fault of the handler."""

    def __init__(self, pool: Transactions, token: int, *, last: bool) -> None:
        self.returned = False  # the handler did, and did not raise
        self.written = False
        self.stale = False  # the claim was gone
        self.passing: BaseException | None = None
        self._pool = pool
        self._token = token
        self._last = last
        self._loop = asyncio.get_running_loop()
        self._trunk: Trunk | None = None
        self._lent: AsyncLent | Lent | None = None
        self._in_thread = False
        self._alarm: asyncio.TimerHandle | None = None
        self._over = False
        self._late = False  # it did not stop at its timeout, and was cut off
        self._asked = False  # Postgres was told the outcome
        self._sent = False  # the commit was, and its answer may be lost

    @property
    def connection(self) -> AsyncLent:
        if isinstance(self._lent, AsyncLent):
            return self._lent
        raise TransactionError(NOT_SYNC if self._lent else NOT_YET)

    @property
    def sync_connection(self) -> Lent:
        if isinstance(self._lent, Lent):
            return self._lent
        raise TransactionError(NOT_ASYNC if self._lent else NOT_YET)

    @property
    def repeats(self) -> bool:
        """The handler runs again, so nobody need deal with what it raised."""
        return self.passing is not None and not self._last

    async def prepare(self) -> None:
        """Have a connection, however long that takes: the handler's time has not begun."""
        self._trunk = await self._pool.take()

    def around(self, handler: Handler, bounds: Bounds) -> Handler:
        """The handler, with the beginning of its transaction."""
        run = self._run if handler.is_async else self._run_in_thread
        return Handler(partial(run, handler, bounds), handler.is_async)

    async def _run(self, handler: Handler, bounds: Bounds) -> Any:
        try:
            self._lent = AsyncLent(await self._begun(bounds.timeout))
            value = await handler.function()
        except Exception as error:
            if means := self._meaning(error):
                raise means from error
            raise
        self.returned = True
        return value

    def _run_in_thread(self, handler: Handler, bounds: Bounds) -> Any:
        self._in_thread = True
        try:
            begun = self._begun(bounds.timeout)
            trunk = asyncio.run_coroutine_threadsafe(begun, self._loop).result()
            self._lent = Lent(trunk)
            value = handler.function()
        except Exception as error:
            if means := self._meaning(error):
                raise means from error
            raise
        finally:
            self._in_thread = False
        self.returned = True
        return value

    async def _begun(self, timeout: float) -> Trunk:
        trunk = self._trunk
        assert trunk is not None
        try:
            try:
                await trunk.begin(self._token, timeout)
            except psycopg.OperationalError:  # it rested while Postgres was restarted
                if self._over or not trunk.closed:
                    raise
                trunk = await self._replaced()
                await trunk.begin(self._token, timeout)
        except psycopg.Error as error:
            self.passing = error
            raise
        if self._over:
            trunk.cut()
            raise TransactionError("the attempt was over before its transaction began")
        self._alarm = self._loop.call_later(timeout + LATE, self._cut_off, trunk)
        return trunk

    async def _replaced(self) -> Trunk:
        trunk = await self._pool.take()
        if not self._over:
            self._trunk = trunk
        return trunk

    def _meaning(self, error: Exception) -> Exception | None:
        """What the handler's error is better called, if it is."""
        trunk = self._trunk
        if self._late:
            return TimeoutError()
        if self._over or trunk is None:
            return None
        if trunk.closed or rolled_back(error):
            self.passing = error
        elif self._lent is not None and trunk.status == TransactionStatus.IDLE:
            return TransactionError(ENDED)
        return None

    def _cut_off(self, trunk: Trunk) -> None:
        self._late = True
        trunk.cut()

    async def commit(self, end: End, left: float) -> Failed | None:
        """Write the outcome, and commit. A claim that is gone writes nothing here; the outcome is
        then dropped like any other. Answers with the failure that it has become, if it has.
        `left`: of the handler's time."""
        if self._over:
            return None  # rolled back already: what the handler said was not to be
        try:
            await surely(self._commit(end, left + LONGEST_COMMIT))
        except asyncio.CancelledError:
            if not self.written:
                raise
        except (psycopg.Error, StepwellError, TimeoutError) as error:
            return await self._not_written(end, error)
        return None

    async def _not_written(self, end: End, error: Exception) -> Failed | None:
        trunk = self._trunk
        assert trunk is not None
        if trunk.closed or isinstance(error, TimeoutError):
            if self._sent and not await end.held(self._pool):
                self.stale = True
                return None  # it was written, or it was too late anyway: the claim says which
            self.passing = error
        elif (getattr(error, "sqlstate", None) or "").startswith(PASSING):
            self.passing = error
        says = f"its outcome was not written: {error}"
        if isinstance(error, TransactionError):
            return failed(error, permanent=True, says=says)
        if self.passing is None and self._asked and not self._sent:
            return failed_as("OutputRefused", f"Postgres refused the outcome: {error}")
        return failed(error, says=says)

    async def _commit(self, end: End, longest: float) -> None:
        trunk = self._trunk
        assert trunk is not None
        async with asyncio.timeout(longest):
            if not await self._quiet():
                raise TransactionError(IN_USE)
            if trunk.status == TransactionStatus.INERROR:
                raise psycopg.errors.InFailedSqlTransaction(ABORTED)
            if trunk.status == TransactionStatus.IDLE:
                raise TransactionError(ENDED)
            self._asked = True
            if not await end.write(trunk):
                self.stale = True
                return
            self._sent = True
            await trunk.execute(COMMIT)
        self.written = True

    async def roll_back(self) -> None:
        """Undo what was written, unless it is committed. Who still uses the connection is cut
        off."""
        if not self._over:
            self._over = True
            with suppress(asyncio.CancelledError) if self.written else nullcontext():
                await surely(self._end())

    async def _end(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        trunk, quiet = self._trunk, await self._quiet()
        if trunk is None:
            return
        if quiet and trunk.status != TransactionStatus.ACTIVE:
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(LONGEST_ROLLBACK):
                    if trunk.status != TransactionStatus.IDLE:
                        await trunk.execute(ROLLBACK)
                    await self._pool.give_back(trunk)
                    return
        trunk.cut()

    async def _quiet(self) -> bool:
        """Whether nobody is using the connection. From now on nobody can."""
        if self._lent is None:
            return not self._in_thread
        self._lent.over = True
        if self._in_thread:
            return False
        until = self._loop.time() + STRAYS
        while self._lent.lock.locked():
            if self._loop.time() > until:
                return False
            await asyncio.sleep(0.01)
        return True


async def surely(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Wait until it is done, also when we are cancelled meanwhile; then that takes effect."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # is of no interest any more
        raise cancelled
    return task.result()


def rolled_back(error: BaseException | None) -> bool:
    """Whether Postgres ended the transaction for others' sake: a deadlock, a conflict. Libraries
    raise errors of their own from it."""
    for _ in range(10):
        if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(ROLLED_BACK):
            return True
        error = error.__cause__ if error is not None else None
    return False
