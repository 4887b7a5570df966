# made by tools/sync.py out of client/enqueuing.py: change that, and run `python -m tools.sync`
"""Have jobs done, now or later. For SyncClient."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar, Unpack, overload

from stepwell.client.job_batch import Arguments, batch_of_job, delay_of, later, moment
from stepwell.client.options import StartChoices
from stepwell.client.sync.run import SyncRun
from stepwell.client.sync.starting import SyncStarting
from stepwell.db.theirs import TheirsSync
from stepwell.define.definition import AnyJob
from stepwell.define.duration import Duration
from stepwell.define.job import JobCall

Out = TypeVar("Out")


class SyncEnqueuing(SyncStarting):
    """Starts of jobs, by the names that pgflow's clients have for them."""

    @overload
    def enqueue(
        self,
        job: JobCall[Out],
        *,
        conn: TheirsSync | None = None,
        delay_seconds: Duration | None = None,
        scheduled_at: datetime | None = None,
        **choices: Unpack[StartChoices],
    ) -> SyncRun[Out]: ...
    @overload
    def enqueue(
        self,
        job: AnyJob | str,
        arguments: Arguments | None = None,
        *,
        conn: TheirsSync | None = None,
        delay_seconds: Duration | None = None,
        scheduled_at: datetime | None = None,
        **choices: Unpack[StartChoices],
    ) -> SyncRun[Any]: ...
    def enqueue(
        self,
        job: JobCall[Any] | AnyJob | str,
        arguments: Arguments | None = None,
        *,
        conn: TheirsSync | None = None,
        **choices: Any,
    ) -> SyncRun[Any]:
        """Have a job done: a call of it, a job with its arguments by name, or the name of one that
        is deployed. It may begin after `delay_seconds`, or at `scheduled_at`, which goes before
        them."""
        [run] = self._start([batch_of_job(job, arguments, choices)], conn)
        return run

    @overload
    def enqueue_in(
        self,
        job: JobCall[Out],
        delay_seconds: Duration,
        *,
        conn: TheirsSync | None = None,
        **choices: Unpack[StartChoices],
    ) -> SyncRun[Out]: ...
    @overload
    def enqueue_in(
        self,
        job: AnyJob | str,
        arguments: Arguments,
        delay_seconds: Duration,
        *,
        conn: TheirsSync | None = None,
        **choices: Unpack[StartChoices],
    ) -> SyncRun[Any]: ...
    def enqueue_in(
        self, job: Any, *given: Any, conn: TheirsSync | None = None, **choices: Any
    ) -> SyncRun[Any]:
        """Have a job done after a delay, in seconds or as a timedelta. InvalidArgument
        (`invalid_delay_seconds`) when that is none."""
        arguments, delay = later(job, given, choices, "delay_seconds")
        choices["delay_seconds"] = delay_of(delay)
        [run] = self._start([batch_of_job(job, arguments, choices)], conn)
        return run

    @overload
    def enqueue_at(
        self,
        job: JobCall[Out],
        scheduled_at: datetime,
        *,
        conn: TheirsSync | None = None,
        **choices: Unpack[StartChoices],
    ) -> SyncRun[Out]: ...
    @overload
    def enqueue_at(
        self,
        job: AnyJob | str,
        arguments: Arguments,
        scheduled_at: datetime,
        *,
        conn: TheirsSync | None = None,
        **choices: Unpack[StartChoices],
    ) -> SyncRun[Any]: ...
    def enqueue_at(
        self, job: Any, *given: Any, conn: TheirsSync | None = None, **choices: Any
    ) -> SyncRun[Any]:
        """Have a job done at a time; one that is over means now. InvalidArgument
        (`invalid_scheduled_at`) when it is no datetime, or has no time zone."""
        arguments, at = later(job, given, choices, "scheduled_at")
        choices["scheduled_at"] = moment(at)
        [run] = self._start([batch_of_job(job, arguments, choices)], conn)
        return run
