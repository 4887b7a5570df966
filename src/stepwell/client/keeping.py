"""Who works, and what is kept: workers, draining and pruning. For Client."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from stepwell.client.archiving import archived_by
from stepwell.client.prunes import Hand, pruning
from stepwell.client.session import Session
from stepwell.db.call import Call
from stepwell.db.workers import WorkerInfo, drain_workers, is_served, worker_health
from stepwell.define.archive import Archive
from stepwell.define.definition import Definition

Out = TypeVar("Out")


class Keeping:
    """What keeps a fleet and its database in shape."""

    _session: Session
    _retention: float

    async def workers(self, stopped_within: timedelta = timedelta()) -> list[WorkerInfo]:
        """Workers of all programs, newest first; also those that stopped within that time."""
        return await self._session.pool.run(worker_health(stopped_within))

    async def is_served(self, queue: str) -> bool:
        """Whether a healthy worker takes on what is in a queue. That of a flow, machine or job is
        called like it, unless it says another."""
        return (await self._session.pool.run(is_served(queue)))[0].served

    async def drain(self, *workers: UUID, actor: str | None = None) -> list[UUID]:
        """Tell workers to take nothing new, to end what runs, and to go; answers with those that
        had not been told before. They hear of it with their next heartbeat."""
        call = drain_workers(workers, actor or self._session.actor)
        return [row.worker_id for row in await self._session.pool.run(call)]

    async def prune(
        self,
        *flows: Definition | str,
        older_than: timedelta | None = None,
        archive: Archive | None = None,
        actor: str | None = None,
    ) -> dict[str, int]:
        """Forget ended runs now, some at a time; answers how many of which definition. Without
        `older_than` those past their retention; with it those that ended longer ago: of the flows,
        machines and jobs that are named, else of all that are not to be kept for ever. `archive`
        gets them first, a list at a time, and each list goes once it returned; runs of an app with
        an archive go only so."""
        by = actor or self._session.actor
        calls = pruning(older_than, flows, self._retention, by, archive=archive is not None)
        return await self._all(calls, archive)

    async def _all(
        self, calls: Generator[Call[Any] | Hand, list[Any], Out], archive: Archive | None
    ) -> Out:
        """Run what comes, call by call."""
        answer: list[Any] | None = None
        while True:
            try:
                call = next(calls) if answer is None else calls.send(answer)
            except StopIteration as end:
                return end.value
            if not isinstance(call, Hand):
                answer = await self._session.pool.run(call)
            elif archive is not None:
                await archived_by(archive, call.runs)
                answer = []
