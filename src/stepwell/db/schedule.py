"""Schedules: what is due, firing it once, and steering by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Moment:
    at: datetime


@dataclass(frozen=True, slots=True)
class EnsuredSchedule:
    """`status` is created, updated or verified."""

    name: str
    status: str


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule with something to fire at `seen_at`."""

    name: str
    spec: dict[str, Any]
    catch_up: str
    next_at: datetime
    resumed_at: datetime | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds until something is due; None: never."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Fired:
    """A run that was started, and its slot."""

    schedule: str
    slot: datetime
    run_id: UUID
    flow_slug: str


@dataclass(frozen=True, slots=True)
class Triggered:
    run_id: UUID
    flow_slug: str
    created: bool


@dataclass(frozen=True, slots=True)
class ScheduleSteered:
    """`done` is False when there was nothing to do."""

    done: bool
    flow_slug: str


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    name: str
    flow_slug: str
    kind: str
    version: int | None
    input: Any
    spec: dict[str, Any]
    overlap: str
    catch_up: str
    options: dict[str, Any]
    created_at: datetime
    paused_at: datetime | None
    next_at: datetime
    last_slot: datetime | None
    last_run_id: UUID | None
    waiting: int
    error_message: str | None


def moment() -> Call[Moment]:
    """What time it is in the database."""
    return Call("select pgflow.now() as at", (), Moment)


def ensure_schedules(schedules: str) -> Call[EnsuredSchedule]:
    """Make the database have these schedules (a JSON array, as schedule.sql names its parts)."""
    return Call(
        "select * from pgflow.ensure_schedules(schedules => %s::jsonb)",
        (schedules,),
        EnsuredSchedule,
    )


def due_schedules(most: int = 1000) -> Call[Due]:
    return Call("select * from pgflow.due_schedules(most => %s::int)", (most,), Due)


def next_schedule() -> Call[Pause]:
    return Call("select pgflow.next_schedule() as seconds", (), Pause)


def fire_schedules(firings: str) -> Call[Fired]:
    """Fire what nobody fired yet (a JSON array, as schedule.sql names its parts)."""
    return Call(
        "select * from pgflow.fire_schedules(firings => %s::jsonb)",
        (firings,),
        Fired,
    )


def fire_schedule(
    name: str,
    expected: datetime,
    slots: Sequence[datetime],
    next_at: datetime,
    spec: str | None = None,
) -> Call[Fired]:
    """Fire these slots if the schedule's next one is still the expected one, and its times are
    still those of `spec` (JSON)."""
    return Call(
        "select * from pgflow.fire_schedule(name => %s, expected => %s::timestamptz,"
        " slots => %s::timestamptz[], next_at => %s::timestamptz, spec => %s::jsonb)",
        (name, expected, list(slots), next_at, spec),
        Fired,
    )


def trigger_schedule(name: str, run_id: UUID, actor: str | None = None) -> Call[Triggered]:
    return Call(
        "select * from pgflow.trigger_schedule(name => %s, new_run_id => %s, actor => %s::text)",
        (name, run_id, actor),
        Triggered,
    )


def pause_schedule(name: str, actor: str | None = None) -> Call[ScheduleSteered]:
    return Call(
        "select pgflow.pause_schedule(name => %s, actor => %s::text) as done, '' as flow_slug",
        (name, actor),
        ScheduleSteered,
    )


def resume_schedule(name: str, actor: str | None = None) -> Call[ScheduleSteered]:
    return Call(
        "select pgflow.resume_schedule(name => %s, actor => %s::text) as done,"
        " (select flow_slug from pgflow.list_schedules(name => %s)) as flow_slug",
        (name, actor, name),
        ScheduleSteered,
    )


def delete_schedule(name: str, actor: str | None = None) -> Call[ScheduleSteered]:
    return Call(
        "select pgflow.delete_schedule(name => %s, actor => %s::text) as done, '' as flow_slug",
        (name, actor),
        ScheduleSteered,
    )


def list_schedules(name: str | None = None) -> Call[ScheduleRow]:
    """All schedules by name, or the one of that name."""
    return Call(
        "select name, flow_slug, kind, version, input, spec, overlap, catch_up, options,"
        " created_at, paused_at, next_at, last_slot, last_run_id, cardinality(waiting) as waiting,"
        " error_message"
        " from pgflow.list_schedules(name => %s::text)",
        (name,),
        ScheduleRow,
    )
