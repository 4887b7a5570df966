"""What is wrong with the work in a database, as sets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class ReadyLane:
    """A queue and a version with `ready` tasks (counted up to 10,000). `paused`: 'queue' or 'flow'.
    `reason` says why nobody takes them on; None: somebody does."""

    queue: str
    flow: str
    version: int
    ready: int
    oldest: float
    paused: str | None
    reason: str | None
    said: str | None
    remedy: str | None


@dataclass(frozen=True, slots=True)
class LateTimers:
    late: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Losses:
    """Tasks of a flow that nobody took back from who lost them."""

    flow: str
    tasks: int
    oldest: float


@dataclass(frozen=True, slots=True)
class DeadlyTask:
    run_id: UUID
    flow: str
    step: str
    lost: int


@dataclass(frozen=True, slots=True)
class StuckGate:
    """A gate, in words; `lost` of its slots belong to nobody that is there."""

    gate: str
    waiting: int
    taken: int
    capacity: int
    lost: int


@dataclass(frozen=True, slots=True)
class BareRun:
    run_id: UUID


@dataclass(frozen=True, slots=True)
class TroubledSchedule:
    name: str
    flow: str
    overdue: float
    late: bool
    error_message: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    queue: str
    letters: int


@dataclass(frozen=True, slots=True)
class WaitingMessages:
    queue: str
    ready: int
    oldest: float
    served: bool
    paused: bool


@dataclass(frozen=True, slots=True)
class PruningState:
    """`idle`: seconds since the last round ended, or since the schema was made."""

    idle: float
    runs: float


@dataclass(frozen=True, slots=True)
class Unarchived:
    """A definition whose runs go to an archive that nobody runs; `waited`: seconds since the oldest
    of them ended."""

    flow: str
    waited: float


@dataclass(frozen=True, slots=True)
class Refused:
    """How many old runs of a definition cannot be archived, and one of them."""

    flow: str
    runs: int
    run_id: UUID
    message: str


@dataclass(frozen=True, slots=True)
class Clock:
    """`ahead`: seconds that the clock of a worker was ahead of the database's."""

    name: str
    host: str | None
    ahead: float


def ready_lanes() -> Call[ReadyLane]:
    return Call(
        "select queue, flow_slug as flow, version, ready,"
        " extract(epoch from pgflow.now() - oldest_at)::float8 as oldest, paused, reason, said,"
        " remedy from pgflow.ready_lanes()",
        (),
        ReadyLane,
    )


def late_timers(margin: timedelta) -> Call[LateTimers]:
    return Call(
        "select late, extract(epoch from pgflow.now() - oldest_at)::float8 as oldest"
        " from pgflow.late_timers(margin => %s)",
        (margin,),
        LateTimers,
    )


def unclaimed_losses(margin: timedelta) -> Call[Losses]:
    return Call(
        "select flow_slug as flow, tasks,"
        " extract(epoch from pgflow.now() - oldest_at)::float8 as oldest"
        " from pgflow.unclaimed_losses(margin => %s)",
        (margin,),
        Losses,
    )


def deadly_tasks() -> Call[DeadlyTask]:
    return Call(
        "select run_id, flow_slug as flow, step_slug as step, lost from pgflow.deadly_tasks()",
        (),
        DeadlyTask,
    )


def stuck_gates(margin: timedelta) -> Call[StuckGate]:
    return Call(
        "select pgflow.gate_text(gate => g.gate) as gate, waiting, taken, capacity, lost"
        " from pgflow.stuck_gates(margin => %s) g",
        (margin,),
        StuckGate,
    )


def runs_without_tasks() -> Call[BareRun]:
    return Call("select * from pgflow.runs_without_tasks() as r (run_id)", (), BareRun)


def troubled_schedules(margin: timedelta) -> Call[TroubledSchedule]:
    return Call(
        "select name, flow_slug as flow,"
        " extract(epoch from pgflow.now() - next_at)::float8 as overdue, late, error_message"
        " from pgflow.troubled_schedules(margin => %s)",
        (margin,),
        TroubledSchedule,
    )


def count_dead_letters() -> Call[DeadLetterCount]:
    return Call("select queue, letters from pgflow.count_dead_letters()", (), DeadLetterCount)


def waiting_messages() -> Call[WaitingMessages]:
    return Call(
        "select queue, ready, extract(epoch from pgflow.now() - oldest_at)::float8 as oldest,"
        " served, paused from pgflow.waiting_messages()",
        (),
        WaitingMessages,
    )


def pruning_state() -> Call[PruningState]:
    return Call(
        "select extract(epoch from pgflow.now() - coalesce(finished_at, first_at))::float8 as idle,"
        " runs from pgflow.pruning_state()",
        (),
        PruningState,
    )


def unarchived(idle: float, days: float) -> Call[Unarchived]:
    return Call(
        "select flow_slug as flow, extract(epoch from pgflow.now() - oldest_at)::float8 as waited"
        " from pgflow.unarchived(idle => make_interval(secs => %s), days => %s::float8)",
        (idle, days),
        Unarchived,
    )


def refused_runs() -> Call[Refused]:
    return Call(
        "select flow_slug as flow, runs, run_id, message from pgflow.refused_runs()", (), Refused
    )


def worker_clocks(most: float) -> Call[Clock]:
    """Of workers whose clocks are further off than that."""
    return Call(
        "select name, host, ahead from pgflow.worker_clocks(most => %s::float8)",
        (most,),
        Clock,
    )
