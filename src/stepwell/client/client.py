"""The client: start runs, find them, steer them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from psycopg import AsyncConnection

from stepwell.client.batch import AnyFlow, Batch, batch_of, run_id_of
from stepwell.client.reading import RunInfo, listed, reader_of
from stepwell.client.run import Run, Session
from stepwell.client.sync import SyncClient
from stepwell.client.versions import Versions
from stepwell.client.waiter import Waiter
from stepwell.client.wakes import Wakes
from stepwell.db.inspect import RunSummary
from stepwell.db.pool import Pool
from stepwell.db.start import Started, wake_flows
from stepwell.define.flow import Flow
from stepwell.errors import NotFound
from stepwell.settings import Settings

In = TypeVar("In")
Out = TypeVar("Out")
Conn = AsyncConnection[Any]


class Client:
    """Starts runs and waits for them. It opens connections when it needs them, so making one
    costs nothing; close it, or use it in `async with`.

    With `conn`, a psycopg connection of your own, a start is part of your transaction: nothing is
    started when you roll back.

    >>> client = Client("postgresql://ada@db.example/shop")
    """

    def __init__(self, dsn: str | None = None, *, settings: Settings | None = None) -> None:
        self._settings = settings_of(dsn, settings)
        pool = Pool(
            self._settings.dsn,
            timeout=self._settings.connect_timeout,
            application_name="stepwell client",
        )
        self._session = Session(pool, Waiter(pool), Wakes(pool))
        self._versions = Versions()

    @staticmethod
    def sync(dsn: str | None = None, *, settings: Settings | None = None) -> SyncClient:
        """A client with the same calls for programs without an event loop."""
        return SyncClient(settings_of(dsn, settings))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. Whoever waits for a run gets an error."""
        await self._session.waiter.close()
        await self._session.wakes.close()
        await self._session.pool.close()

    @overload
    async def start(
        self,
        flow: Flow[None, Out],
        input: None = None,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> Run[Out]: ...
    @overload
    async def start(
        self,
        flow: Flow[In, Out],
        input: In,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> Run[Out]: ...
    @overload
    async def start(
        self,
        flow: str,
        input: object = None,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> Run[Any]: ...
    async def start(
        self,
        flow: AnyFlow | str,
        input: object = None,
        *,
        key: str | None = None,
        run_id: UUID | None = None,
        conn: Conn | None = None,
    ) -> Run[Any]:
        """Start a run. The same `key` always answers with the same run, so a retry starts nothing
        twice; Conflict when a run of another flow has it.

        A Flow is started in the very version of this code; a name in the current version that is
        deployed.
        """
        [run] = await self._start(batch_of(flow, [input], [key], run_id), conn)
        return run

    @overload
    async def start_many(
        self,
        flow: Flow[In, Out],
        inputs: Iterable[In],
        *,
        keys: Iterable[str | None] | None = None,
        conn: Conn | None = None,
    ) -> list[Run[Out]]: ...
    @overload
    async def start_many(
        self,
        flow: str,
        inputs: Iterable[object],
        *,
        keys: Iterable[str | None] | None = None,
        conn: Conn | None = None,
    ) -> list[Run[Any]]: ...
    async def start_many(
        self,
        flow: AnyFlow | str,
        inputs: Iterable[Any],
        *,
        keys: Iterable[str | None] | None = None,
        conn: Conn | None = None,
    ) -> list[Run[Any]]:
        """Start a run per input, all of them or none; the runs come in the order of the inputs."""
        return await self._start(batch_of(flow, inputs, keys), conn)

    @overload
    def run(self, run_id: UUID | str) -> Run[Any]: ...
    @overload
    def run(self, run_id: UUID | str, flow: Flow[Any, Out]) -> Run[Out]: ...
    def run(self, run_id: UUID | str, flow: AnyFlow | None = None) -> Run[Any]:
        """A handle on a run that was started before, by whomever; `flow` types its result."""
        return Run(run_id_of(run_id), False, self._session, reader_of(flow))

    async def get(self, run_id: UUID | str) -> RunInfo:
        """The run as it is now; NotFound when there is none."""
        return await self.run(run_id).info()

    async def list(
        self,
        flow: AnyFlow | str | None = None,
        status: str | None = None,
        before: UUID | None = None,
        limit: int = 50,
    ) -> list[RunSummary]:
        """Runs, newest first, at most 10,000. `before`, the id of the last one, continues a
        list."""
        return await self._session.pool.run(listed(flow, status, before, limit))

    async def cancel(self, run_id: UUID | str, reason: str | None = None) -> bool:
        """End a run now; False when it had ended already."""
        return await self.run(run_id).cancel(reason)

    async def retry(self, run_id: UUID | str) -> bool:
        """Let a failed or cancelled run go on from where it ended; False when it is neither."""
        return await self.run(run_id).retry()

    async def _start(self, batch: Batch, conn: Conn | None) -> list[Run[Any]]:
        if conn is not None and not isinstance(conn, AsyncConnection):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"conn is {type(conn).__qualname__}; Client wants a psycopg.AsyncConnection "
                "(a psycopg.Connection goes with Client.sync)"
            )
        rows = await self._started(batch, conn)
        created = batch.created(rows)
        if any(created) and conn is not None:
            await self._session.pool.run(wake_flows([batch.slug]), conn)
        elif any(created):
            await self._session.wakes.wake(batch.slug)
        read = reader_of(batch.flow)
        return [
            Run(row.run_id, new, self._session, read)
            for row, new in zip(rows, created, strict=True)
        ]

    async def _started(self, batch: Batch, conn: Conn | None) -> list[Started]:
        pool, flow = self._session.pool, batch.flow
        known = None if isinstance(flow, str) else self._versions.of(flow)
        try:
            answers = await pool.run_all(batch.calls(known or await self._version(flow)), conn)
        except NotFound:
            if known is None or isinstance(flow, str) or conn is not None:
                raise
            self._versions.forget(flow)  # the database was made anew meanwhile
            answers = await pool.run_all(batch.calls(await self._version(flow)))
        return [row for rows in answers for row in rows]

    async def _version(self, flow: AnyFlow | str) -> int | None:
        """Make the database know the flow, on a connection of ours."""
        if isinstance(flow, str):
            return None
        [ensured] = await self._session.pool.run(self._versions.ensure(flow))
        return self._versions.learn(flow, ensured.version_id)


def settings_of(dsn: str | None, settings: Settings | None) -> Settings:
    if settings is None:
        return Settings.from_env(dsn=dsn)
    return settings if dsn is None else replace(settings, dsn=dsn)
