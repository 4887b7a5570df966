"""A handle on one run: wait for it, look at it, steer it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Generic
from uuid import UUID

from typing_extensions import TypeVar

from stepwell.client.reading import (
    Read,
    RunInfo,
    StepInfo,
    attempts_of,
    info_of,
    no_run,
    result_of,
    step_of,
)
from stepwell.client.waiter import Waiter
from stepwell.client.wakes import Wakes
from stepwell.db.inspect import (
    AttemptInfo,
    RunRow,
    RunSummary,
    get_runs,
    run_steps,
)
from stepwell.db.pool import Pool
from stepwell.db.steer import cancel_run, retry_run
from stepwell.errors import RunTimeout

__all__ = ["AttemptInfo", "Run", "RunInfo", "RunSummary", "StepInfo"]

Out = TypeVar("Out", default=object, covariant=True)


@dataclass(frozen=True, slots=True)
class Session:
    """What the handles of one client share."""

    pool: Pool
    waiter: Waiter
    wakes: Wakes


@dataclass(frozen=True, slots=True)
class Run(Generic[Out]):
    """One run, by its id. `created` is False when the key or the id was taken: then this is the
    run that has it. Making a handle asks the database nothing."""

    id: UUID
    created: bool
    _session: Session = field(repr=False, compare=False)
    _read: Read[Out] = field(repr=False, compare=False)

    async def result(self, timeout: float | None = None) -> Out:
        """The output, once the run has ended. A run that failed raises RunFailed, a cancelled one
        RunCancelled, one that does not exist NotFound; RunTimeout when it takes longer than
        `timeout` seconds. A database that goes away meanwhile is waited for."""
        return result_of(await self._ended(timeout), self._read)

    async def wait(self, timeout: float | None = None) -> RunInfo:
        """The run once it has ended, however it ended."""
        return info_of(await self._ended(timeout))

    async def info(self) -> RunInfo:
        """The run as it is now; NotFound when there is none."""
        return info_of(await self._row())

    async def steps(self) -> list[StepInfo]:
        """Its steps in the order of their definition; NotFound when there is no such run."""
        rows = await self._session.pool.run(run_steps(self.id))
        if not rows:
            await self._row()
        return [step_of(row) for row in rows]

    async def attempts(self, limit: int = 1000) -> list[AttemptInfo]:
        """The first `limit` attempts that did not succeed, oldest first."""
        return await self._session.pool.run(attempts_of(self.id, limit))

    async def cancel(self, reason: str | None = None) -> bool:
        """End the run now; False when it had ended already."""
        return (await self._session.pool.run(cancel_run(self.id, reason)))[0].done

    async def retry(self) -> bool:
        """Let a failed or cancelled run go on from where it ended; False when it is neither."""
        answer = (await self._session.pool.run(retry_run(self.id)))[0]
        if answer.done:
            await self._session.wakes.wake(answer.flow_slug)
        return answer.done

    async def _row(self) -> RunRow:
        for row in await self._session.pool.run(get_runs([self.id])):
            return row
        raise no_run(self.id)

    async def _ended(self, timeout: float | None) -> RunRow:
        if timeout is not None and timeout <= 0:
            row = await self._row()
            if row.status == "started":
                raise RunTimeout(self.id, timeout)
            return row
        deadline = asyncio.timeout(timeout)
        try:
            async with deadline:
                return await self._session.waiter.ended(self.id)
        except TimeoutError as error:
            if timeout is None or not deadline.expired():
                raise
            raise RunTimeout(self.id, timeout) from error
