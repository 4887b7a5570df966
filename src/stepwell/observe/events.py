"""One frozen class per thing worth knowing. Names are past tense; times are seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class TaskEvent(Event):
    """Base of what happens to one attempt of one task."""

    run_id: UUID
    flow: str
    step: str
    task_index: int
    attempt: int


@dataclass(frozen=True, slots=True)
class TaskStarted(TaskEvent):
    """A handler is about to be called. `waited`: for how long the task was ready before, where
    the worker traces or measures."""

    waited: float | None = None


@dataclass(frozen=True, slots=True)
class TaskSucceeded(TaskEvent):
    """A handler returned, and what it said is JSON. `outcome` is its word for the commit:
    `completed`, `next`, `await`, … It counts once the commit says so."""

    seconds: float
    outcome: str = "completed"


@dataclass(frozen=True, slots=True)
class TaskFailed(TaskEvent):
    """An attempt failed; `will_retry` says whether there is another."""

    seconds: float
    error_type: str
    message: str
    will_retry: bool


@dataclass(frozen=True, slots=True)
class ErrorHandled(TaskEvent):
    """A step of a machine raised, and its `on_error` said how to go on: `outcome`."""

    seconds: float
    error_type: str
    message: str
    outcome: str


@dataclass(frozen=True, slots=True)
class AttemptRepeated(TaskEvent):
    """Postgres rolled a transactional handler back for others' sake (a deadlock), or its connection
    broke: it runs again, within the same attempt."""

    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class TaskReleased(TaskEvent):
    """The worker stopped before the handler ended; another worker runs the task again."""


@dataclass(frozen=True, slots=True)
class OutcomeDropped(TaskEvent):
    """The claim was no longer ours when the handler ended, so its outcome was not written."""


@dataclass(frozen=True, slots=True)
class OutcomeHeld(TaskEvent):
    """Another transaction holds the run, so its outcome waits and is tried again every second;
    others are written meanwhile."""


@dataclass(frozen=True, slots=True)
class NotesLost(TaskEvent):
    """Postgres refused progress or log `lines` of an attempt; the attempt goes on without."""

    lines: int
    error: str


@dataclass(frozen=True, slots=True)
class BatchCommitted(Event):
    """One round trip: outcomes written, of which stale were dropped, and tasks taken on."""

    size: int
    stale: int
    claimed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ProcessStarted(Event):
    """A supervisor started worker process `number`."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True)
class ProcessEnded(Event):
    """A worker process ended that nobody here had told to; below 0 the `code` is the signal that
    killed it. The next one begins in `again_in` seconds."""

    number: int
    pid: int
    code: int
    again_in: float


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """An outcome that this worker wrote brought a run to its end. Told where the worker traces or
    measures."""

    run_id: UUID
    flow: str
    kind: str
    status: str
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    """A worker registered and starts to claim of the `flows` that have come up. After a lapsed
    lease this happens again."""

    worker_id: UUID
    flows: tuple[str, ...]
    concurrency: int


@dataclass(frozen=True, slots=True)
class SettingUnused(Event):
    """A setting names a queue or a flow that there is not: perhaps it is misspelt."""

    setting: str
    name: str
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkerStopping(Event):
    """No more claims; `running` handlers have `grace` seconds to end."""

    worker_id: UUID
    running: int
    grace: float


@dataclass(frozen=True, slots=True)
class WorkerStopped(Event):
    """The worker left; what it could not finish went back to the queue."""

    worker_id: UUID
    released: int


@dataclass(frozen=True, slots=True)
class WorkerLapsed(Event):
    """Our lease lapsed while we were away: our tasks are others' now, and we begin anew."""

    worker_id: UUID
    cancelled: int


@dataclass(frozen=True, slots=True)
class MeasuringFailed(Event):
    """Postgres refused to be measured; what metrics say of the database is missing meanwhile."""

    error: str


@dataclass(frozen=True, slots=True)
class DatabaseLost(Event):
    """Postgres is out of reach; the worker keeps trying and its handlers go on."""

    error: str


@dataclass(frozen=True, slots=True)
class DatabaseBack(Event):
    """Postgres answers again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TasksReclaimed(Event):
    """Tasks of lost workers went back to the queue, or failed past the crash cap."""

    requeued: int
    failed: int


@dataclass(frozen=True, slots=True)
class FlowEnsured(Event):
    """A flow was made from data: `status` is `compiled`, `recompiled` or `verified`."""

    flow: str
    status: str
    version: int


@dataclass(frozen=True, slots=True)
class FlowDeleted(Event):
    """A definition was deleted, with every run of it."""

    flow: str


@dataclass(frozen=True, slots=True)
class FlowNotServed(Event):
    """The slug of a flow matches the pattern of a handler here, and none has code for all of its
    steps."""

    flow: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class CommitFailed(Event):
    """Postgres refused one outcome; it is written as a failed attempt with the reason."""

    message_id: int
    error: str


@dataclass(frozen=True, slots=True)
class ModuleEvent(Event):
    """Base of what happens to one module of the starter: a flow, machine or job that a worker
    brings up. `attempts` counts those that failed. Of the last of them are `error_class`
    (`transient` or `permanent`), `phase` (`registry`, `worker` or `notify`) and `reason`."""

    module: str
    module_type: str
    status: str
    attempts: int
    error_class: str | None
    phase: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class StarterAttempt(ModuleEvent):
    """The phases of a module begin."""

    attempt: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StarterSuccess(ModuleEvent):
    """The module is served."""

    seconds: float


@dataclass(frozen=True, slots=True)
class StarterRetryScheduled(ModuleEvent):
    """The attempt failed for a reason that may pass; the next comes in `delay` seconds."""

    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class StarterFailed(ModuleEvent):
    """The attempt failed for a reason that does not pass: the module is given up."""


@dataclass(frozen=True, slots=True)
class StarterReady(Event):
    """Every module has come up or was given up, for the first time."""

    modules: int
    seconds: float
    at: datetime


@dataclass(frozen=True, slots=True)
class RunsPruned(Event):
    """Ended runs past their retention are gone, and workers that stopped long ago."""

    runs: int
    workers: int


@dataclass(frozen=True, slots=True)
class AuditPruned(Event):
    """Rows of the audit that were older than it is kept are gone."""

    rows: int


@dataclass(frozen=True, slots=True)
class RunsArchived(Event):
    """The app's archive has ended runs; `deleted` of them went, others were changed meanwhile."""

    flow: str
    runs: int
    deleted: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ArchiveFailed(Event):
    """The app's archive raised: the runs stay, and come again in the next round."""

    flow: str
    runs: int
    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class RunNotArchived(Event):
    """A run is too large for an archive: it stays, and those behind it go on. Workers try it again
    a day later."""

    flow: str
    run_id: UUID
    message: str


@dataclass(frozen=True, slots=True)
class QueueOpened(Event):
    """A queue worker begins to read; `created`: the queue was not there."""

    queue: str
    created: bool


@dataclass(frozen=True, slots=True)
class QueueFailed(Event):
    """Postgres refused to make, read or write a queue; the worker tries again, and serves the rest
    meanwhile."""

    queue: str
    error: str


@dataclass(frozen=True, slots=True)
class MessageArchived(Event):
    """A message was handled, and is in the archive."""

    queue: str
    msg_id: int
    read_ct: int
    seconds: float


@dataclass(frozen=True, slots=True)
class MessageFailed(Event):
    """A try failed; the next comes in `retry_in` seconds. None: the message is a dead letter."""

    queue: str
    msg_id: int
    read_ct: int
    seconds: float
    error_type: str
    message: str
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class MessageRepeated(Event):
    """Postgres rolled a message's transactional handler back for others' sake (a deadlock), or its
    connection broke: it runs again, within the same try."""

    queue: str
    msg_id: int
    read_ct: int
    error_type: str
    message: str


@dataclass(frozen=True, slots=True)
class MessageReleased(Event):
    """The worker stopped before the handler ended; another one reads the message again."""

    queue: str
    msg_id: int
    read_ct: int


@dataclass(frozen=True, slots=True)
class MessageLost(Event):
    """The message was somebody else's before its handler had ended, so nothing was written."""

    queue: str
    msg_id: int
    read_ct: int
