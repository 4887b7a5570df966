# made by tools/sync.py out of client/run.py: change that, and run `python -m tools.sync`
"""A handle on one run: wait for it, look at it, steer it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Generic
from uuid import UUID

from typing_extensions import TypeVar

from stepwell.client.logs import LogLine, ProgressInfo, Tail, Wanted, lines_of, progress_of
from stepwell.client.options import checked_priority
from stepwell.client.reading import (
    ChildInfo,
    Read,
    RunInfo,
    StepInfo,
    attempts_of,
    child_of,
    info_of,
    labelling,
    no_run,
    result_of,
    some_children,
    step_of,
)
from stepwell.client.signals import SignalInfo, inbox_of, signal_of
from stepwell.client.sync.session import SyncSession
from stepwell.client.sync.stream import SyncEventStream
from stepwell.client.sync.tailing import followed
from stepwell.client.wakes import to_queues
from stepwell.db.call import Call
from stepwell.db.explain import Reason, explain_run
from stepwell.db.inspect import AttemptInfo, RunRow, get_runs, run_steps
from stepwell.db.steer import (
    Labels,
    Steered,
    cancel_run,
    delete_run,
    pause_run,
    restart_run,
    resume_run,
    retry_run,
    set_priority,
)
from stepwell.define.context import LogLevel
from stepwell.define.ids import new_run_id
from stepwell.define.labels import Metadata
from stepwell.errors import RunTimeout

Out = TypeVar("Out", default=object, covariant=True)


@dataclass(frozen=True, slots=True)
class SyncRun(Generic[Out]):
    """One run, by its id. `created` is False when the key or the id was taken: then this is the
    run that has it. Making a handle asks the database nothing."""

    id: UUID
    created: bool
    _session: SyncSession = field(repr=False, compare=False)
    _read: Read[Out] = field(repr=False, compare=False)

    def result(self, timeout: float | None = None) -> Out:
        """The output, once the run has ended. A run that failed raises RunFailed, a cancelled one
        RunCancelled, one that does not exist NotFound; RunTimeout when it takes longer than
        `timeout` seconds. A database that goes away meanwhile is waited for."""
        return result_of(self._ended(timeout), self._read)

    def wait(self, timeout: float | None = None) -> RunInfo:
        """The run once it has ended, however it ended."""
        return info_of(self._ended(timeout))

    def events(self) -> SyncEventStream:
        """What happens to it from now on, to the event that ends it; when it has ended that one
        alone."""

        def found() -> UUID:
            return self.id

        return SyncEventStream(self._session.feed, found)

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

    def logs(
        self,
        step: str | None = None,
        *,
        task_index: int | None = None,
        attempt: int | None = None,
        level: LogLevel | None = None,
        limit: int = 1000,
        newest: bool = False,
        after: LogLine | None = None,
    ) -> list[LogLine]:
        """Lines that its handlers said with `ctx.log`, in the order in which they were written: the
        first `limit` (behind `after`), or the `newest`. `level` is the least that is wanted."""
        wanted = Wanted(self.id, step, task_index, attempt, level)
        return lines_of(self._session.pool.run(wanted.page(limit, newest, after)))

    def follow_logs(
        self,
        step: str | None = None,
        *,
        task_index: int | None = None,
        attempt: int | None = None,
        level: LogLevel | None = None,
        newest: int | None = None,
    ) -> Generator[LogLine]:
        """The same from the first line on (or from the `newest` so many) and then as they come,
        until it has ended. A database that goes away meanwhile is waited for."""
        wanted = Wanted(self.id, step, task_index, attempt, level)
        return followed(self._session.pool, Tail(wanted, newest))

    def progress(self, limit: int = 1000) -> list[ProgressInfo]:
        """How far its tasks said they are with `ctx.progress`: those that run first."""
        return self._session.pool.run(progress_of(self.id, limit))

    def signals(self, limit: int = 100, unconsumed_only: bool = False) -> list[SignalInfo]:
        """Its inbox, oldest first, consumed signals too unless told otherwise."""
        rows = self._session.pool.run(inbox_of(self.id, limit, unconsumed_only))
        return [signal_of(row) for row in rows]

    def children(self, limit: int = 100) -> list[ChildInfo]:
        """The runs that it started, in their order."""
        rows = self._session.pool.run(some_children(self.id, limit))
        return [child_of(row) for row in rows]

    def explain(self) -> list[Reason]:
        """Why it is not moving, or what moves it, what is worst first: who or what is in the way,
        and what to do about it."""
        return self._session.pool.run(explain_run(self.id))

    def cancel(self, reason: str | None = None, *, actor: str | None = None) -> bool:
        """End the run now; False when it had ended already. Its children go with it, but for those
        that were told to stay."""
        return self._steered(cancel_run(self.id, reason, self._by(actor)))

    def retry(self, *, actor: str | None = None) -> bool:
        """Let a failed or cancelled run go on from where it ended; False when it is neither."""
        return self._steered(retry_run(self.id, self._by(actor)))

    def pause(self, *, actor: str | None = None) -> bool:
        """Begin nothing more of it until it is resumed; what runs goes on to its end. False when
        it has ended, or is paused already."""
        return self._steered(pause_run(self.id, self._by(actor)))

    def resume(self, *, actor: str | None = None) -> bool:
        """Let a paused run go on; False when it is not paused."""
        return self._steered(resume_run(self.id, self._by(actor)))

    def restart(self, from_step: str | None = None, *, actor: str | None = None) -> SyncRun[Out]:
        """Start a new run with the same input, from the beginning or from a step, which then takes
        over what came before. The new run knows where it comes from (`origin_id`)."""
        call = restart_run(self.id, from_step, new_run_id(), self._by(actor))
        [row] = self._session.pool.run(call)
        self._session.wakes.wake(*to_queues(row.queues))
        return SyncRun(row.run_id, True, self._session, self._read)

    def set_priority(self, priority: int, *, actor: str | None = None) -> bool:
        """Move it before or behind others of its queue, lower first; False when it has ended."""
        call = set_priority(self.id, checked_priority(priority), self._by(actor))
        return self._steered(call)

    def label(
        self,
        *tags: str,
        remove: Iterable[str] = (),
        metadata: Metadata | None = None,
        actor: str | None = None,
    ) -> Labels:
        """Give it tags, take some away, and write `metadata` into what it has (None takes a name
        away); answers with what it has then."""
        call = labelling(self.id, tags, remove, metadata, self._by(actor))
        [now] = self._session.pool.run(call)
        return now

    def delete(self, *, actor: str | None = None) -> bool:
        """Forget a run that has ended, with all that it left; Conflict while it is live."""
        return self._steered(delete_run(self.id, self._by(actor)))

    def _steered(self, call: Call[Steered]) -> bool:
        [answer] = self._session.pool.run(call)
        self._session.wakes.wake(*to_queues(answer.queues))
        return answer.done

    @property
    def read(self) -> Read[Out]:
        """How its result is read."""
        return self._read

    def _by(self, actor: str | None) -> str | None:
        return actor or self._session.actor

    def _row(self) -> RunRow:
        for row in self._session.pool.run(get_runs([self.id])):
            return row
        raise no_run(self.id)

    def _ended(self, timeout: float | None) -> RunRow:
        if timeout is not None and timeout <= 0:
            row = self._row()
            if row.status == "started":
                raise RunTimeout(self.id, timeout)
            return row
        return self._session.waiter.ended(self.id, timeout)
