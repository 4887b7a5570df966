"""The client for programs without an event loop: the same calls, blocking. Threads may share it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Self, overload
from uuid import UUID

import psycopg
from psycopg import Connection
from typing_extensions import TypeVar

from stepwell.client.batch import AnyFlow, Batch, batch_of, run_id_of
from stepwell.client.reading import (
    Read,
    RunInfo,
    StepInfo,
    attempts_of,
    info_of,
    listed,
    no_run,
    reader_of,
    result_of,
    step_of,
)
from stepwell.client.versions import Versions
from stepwell.client.waiter import GROWTH, LONGEST, OUTAGE, SHORTEST
from stepwell.client.wakes import SyncWakes
from stepwell.db.call import Call, Row
from stepwell.db.connect import hopeless, passing
from stepwell.db.inspect import (
    AttemptInfo,
    RunRow,
    RunSummary,
    ended_runs,
    get_runs,
    run_steps,
)
from stepwell.db.start import Started, wake_flows
from stepwell.db.steer import cancel_run, retry_run
from stepwell.db.sync_pool import SyncPool
from stepwell.define.flow import Flow
from stepwell.errors import DatabaseUnavailable, NotFound, RunTimeout
from stepwell.settings import Settings

In = TypeVar("In")
Out = TypeVar("Out")
RunOut = TypeVar("RunOut", default=object, covariant=True)
Conn = Connection[Any]


@dataclass(frozen=True, slots=True)
class SyncSession:
    """What the handles of one client share."""

    pool: SyncPool
    wakes: SyncWakes


@dataclass(frozen=True, slots=True)
class SyncRun(Generic[RunOut]):
    """What Run is, with blocking calls."""

    id: UUID
    created: bool
    _session: SyncSession = field(repr=False, compare=False)
    _read: Read[RunOut] = field(repr=False, compare=False)

    def result(self, timeout: float | None = None) -> RunOut:
        """The output, once the run has ended. A run that failed raises RunFailed, a cancelled one
        RunCancelled, one that does not exist NotFound; RunTimeout when it takes longer than
        `timeout` seconds. A database that goes away meanwhile is waited for."""
        return result_of(self._ended(timeout), self._read)

    def wait(self, timeout: float | None = None) -> RunInfo:
        """The run once it has ended, however it ended."""
        return info_of(self._ended(timeout))

    def info(self) -> RunInfo:
        """The run as it is now; NotFound when there is none."""
        return info_of(self._row())

    def steps(self) -> list[StepInfo]:
        """Its steps in the order of their definition; NotFound when there is no such run."""
        rows = self._session.pool.run(run_steps(self.id))
        if not rows:
            self._row()
        return [step_of(row) for row in rows]

    def attempts(self, limit: int = 1000) -> list[AttemptInfo]:
        """The first `limit` attempts that did not succeed, oldest first."""
        return self._session.pool.run(attempts_of(self.id, limit))

    def cancel(self, reason: str | None = None) -> bool:
        """End the run now; False when it had ended already."""
        return self._session.pool.run(cancel_run(self.id, reason))[0].done

    def retry(self) -> bool:
        """Let a failed or cancelled run go on from where it ended; False when it is neither."""
        answer = self._session.pool.run(retry_run(self.id))[0]
        if answer.done:
            self._session.wakes.wake(answer.flow_slug)
        return answer.done

    def _row(self) -> RunRow:
        for row in self._session.pool.run(get_runs([self.id])):
            return row
        raise no_run(self.id)

    def _ended(self, timeout: float | None) -> RunRow:
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = SHORTEST
        while True:
            ended = self._ask(ended_runs([self.id]))
            for row in self._ask(get_runs([self.id])) or () if ended else ():
                if row.status != "started":  # it may have been retried in between
                    return row
            if ended and ended[0].status == "missing":
                raise no_run(self.id)
            rest = LONGEST if deadline is None else deadline - time.monotonic()
            if timeout is not None and rest <= 0:
                raise RunTimeout(self.id, timeout)
            time.sleep(min(OUTAGE if ended is None else pause, rest))
            pause = min(pause * GROWTH, LONGEST)

    def _ask(self, call: Call[Row]) -> list[Row] | None:
        """None while the database is away."""
        try:
            with self._session.pool.connection() as conn:
                return call.on_sync(conn)
        except psycopg.OperationalError as error:
            if hopeless(error):
                raise DatabaseUnavailable(str(error).strip()) from error
            if not passing(error):
                raise
            return None


class SyncClient:
    """What Client is, with blocking calls; `Client.sync(dsn)` makes one. With `conn`, a psycopg
    connection of your own, a start is part of your transaction."""

    def __init__(self, settings: Settings) -> None:
        pool = SyncPool(
            settings.dsn, timeout=settings.connect_timeout, application_name="stepwell client"
        )
        self._session = SyncSession(pool, SyncWakes(pool))
        self._versions = Versions()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.wakes.close()
        self._session.pool.close()

    @overload
    def start(
        self,
        flow: Flow[None, Out],
        input: None = None,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> SyncRun[Out]: ...
    @overload
    def start(
        self,
        flow: Flow[In, Out],
        input: In,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> SyncRun[Out]: ...
    @overload
    def start(
        self,
        flow: str,
        input: object = None,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> SyncRun[Any]: ...
    def start(
        self,
        flow: AnyFlow | str,
        input: object = None,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> SyncRun[Any]:
        """Start a run. The same `key` always answers with the same run, so a retry starts nothing
        twice; Conflict when a run of another flow has it."""
        [run] = self._start(batch_of(flow, [input], [key], run_id), conn)
        return run

    @overload
    def start_many(
        self,
        flow: Flow[In, Out],
        inputs: Iterable[In],
        *,
        keys: Iterable[str | None] | None = None,
        conn: Conn | None = None,
    ) -> list[SyncRun[Out]]: ...
    @overload
    def start_many(
        self,
        flow: str,
        inputs: Iterable[object],
        *,
        keys: Iterable[str | None] | None = None,
        conn: Conn | None = None,
    ) -> list[SyncRun[Any]]: ...
    def start_many(
        self,
        flow: AnyFlow | str,
        inputs: Iterable[Any],
        *,
        keys: Iterable[str | None] | None = None,
        conn: Conn | None = None,
    ) -> list[SyncRun[Any]]:
        """Start a run per input, all of them or none; the runs come in the order of the inputs."""
        return self._start(batch_of(flow, inputs, keys), conn)

    @overload
    def run(self, run_id: UUID | str) -> SyncRun[Any]: ...
    @overload
    def run(self, run_id: UUID | str, flow: Flow[Any, Out]) -> SyncRun[Out]: ...
    def run(self, run_id: UUID | str, flow: AnyFlow | None = None) -> SyncRun[Any]:
        """A handle on a run that was started before, by whomever; `flow` types its result."""
        return SyncRun(run_id_of(run_id), False, self._session, reader_of(flow))

    def get(self, run_id: UUID | str) -> RunInfo:
        """The run as it is now; NotFound when there is none."""
        return self.run(run_id).info()

    def list(
        self,
        flow: AnyFlow | str | None = None,
        status: str | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """Runs, newest first, at most 10,000. `before`, the id of the last one, continues a
        list."""
        return self._session.pool.run(listed(flow, status, before, limit))

    def cancel(self, run_id: UUID | str, reason: str | None = None) -> bool:
        """End a run now; False when it had ended already."""
        return self.run(run_id).cancel(reason)

    def retry(self, run_id: UUID | str) -> bool:
        """Let a failed or cancelled run go on from where it ended; False when it is neither."""
        return self.run(run_id).retry()

    def _start(self, batch: Batch, conn: Conn | None) -> list[SyncRun[Any]]:
        if conn is not None and not isinstance(conn, Connection):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"conn is {type(conn).__qualname__}; Client.sync wants a psycopg.Connection "
                "(a psycopg.AsyncConnection goes with Client)"
            )
        rows = self._started(batch, conn)
        created = batch.created(rows)
        if any(created) and conn is not None:
            self._session.pool.run(wake_flows([batch.slug]), conn)
        elif any(created):
            self._session.wakes.wake(batch.slug)
        read = reader_of(batch.flow)
        return [
            SyncRun(row.run_id, new, self._session, read)
            for row, new in zip(rows, created, strict=True)
        ]

    def _started(self, batch: Batch, conn: Conn | None) -> list[Started]:
        pool, flow = self._session.pool, batch.flow
        known = None if isinstance(flow, str) else self._versions.of(flow)
        try:
            answers = pool.run_all(batch.calls(known or self._version(flow)), conn)
        except NotFound:
            if known is None or isinstance(flow, str) or conn is not None:
                raise
            self._versions.forget(flow)  # the database was made anew meanwhile
            answers = pool.run_all(batch.calls(self._version(flow)))
        return [row for rows in answers for row in rows]

    def _version(self, flow: AnyFlow | str) -> int | None:
        """Make the database know the flow, on a connection of ours."""
        if isinstance(flow, str):
            return None
        [ensured] = self._session.pool.run(self._versions.ensure(flow))
        return self._versions.learn(flow, ensured.version_id)
