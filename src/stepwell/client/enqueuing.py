"""Have jobs done, now or later. For Client."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar, Unpack, overload

from stepwell.client.job_batch import Arguments, batch_of_job, delay_of, later, moment
from stepwell.client.options import StartChoices
from stepwell.client.run import Run
from stepwell.client.starting import Starting
from stepwell.db.theirs import Theirs
from stepwell.define.definition import AnyJob
from stepwell.define.duration import Duration
from stepwell.define.job import JobCall

Out = TypeVar("Out")


class Enqueuing(Starting):
    """Starts of jobs, by the names that pgflow's clients have for them."""

    @overload
    async def enqueue(
        self,
        job: JobCall[Out],
        *,
        conn: Theirs | None = None,
        delay_seconds: Duration | None = None,
        scheduled_at: datetime | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def enqueue(
        self,
        job: AnyJob | str,
        arguments: Arguments | None = None,
        *,
        conn: Theirs | None = None,
        delay_seconds: Duration | None = None,
        scheduled_at: datetime | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]: ...
    async def enqueue(
        self,
        job: JobCall[Any] | AnyJob | str,
        arguments: Arguments | None = None,
        *,
        conn: Theirs | None = None,
        **choices: Any,
    ) -> Run[Any]:
        """Have a job done: a call of it, a job with its arguments by name, or the name of one that
        is deployed. It may begin after `delay_seconds`, or at `scheduled_at`, which goes before
        them."""
        [run] = await self._start([batch_of_job(job, arguments, choices)], conn)
        return run

    @overload
    async def enqueue_in(
        self,
        job: JobCall[Out],
        delay_seconds: Duration,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def enqueue_in(
        self,
        job: AnyJob | str,
        arguments: Arguments,
        delay_seconds: Duration,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]: ...
    async def enqueue_in(
        self, job: Any, *given: Any, conn: Theirs | None = None, **choices: Any
    ) -> Run[Any]:
        """Have a job done after a delay, in seconds or as a timedelta. InvalidArgument
        (`invalid_delay_seconds`) when that is none."""
        arguments, delay = later(job, given, choices, "delay_seconds")
        choices["delay_seconds"] = delay_of(delay)
        [run] = await self._start([batch_of_job(job, arguments, choices)], conn)
        return run

    @overload
    async def enqueue_at(
        self,
        job: JobCall[Out],
        scheduled_at: datetime,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Out]: ...
    @overload
    async def enqueue_at(
        self,
        job: AnyJob | str,
        arguments: Arguments,
        scheduled_at: datetime,
        *,
        conn: Theirs | None = None,
        **choices: Unpack[StartChoices],
    ) -> Run[Any]: ...
    async def enqueue_at(
        self, job: Any, *given: Any, conn: Theirs | None = None, **choices: Any
    ) -> Run[Any]:
        """Have a job done at a time; one that is over means now. InvalidArgument
        (`invalid_scheduled_at`) when it is no datetime, or has no time zone."""
        arguments, at = later(job, given, choices, "scheduled_at")
        choices["scheduled_at"] = moment(at)
        [run] = await self._start([batch_of_job(job, arguments, choices)], conn)
        return run
