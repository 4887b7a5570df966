"""Read models: runs, their steps and attempts, the versions of flows. JSON comes as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class RunRow:
    run_id: UUID
    flow_slug: str
    kind: str
    version: int
    status: str
    input: str
    output: str | None
    error_message: str | None
    failed_step: str | None
    error_type: str | None
    key: str | None
    started_at: datetime
    ended_at: datetime | None
    state: str | None
    priority: int
    parent_id: UUID | None
    origin_id: UUID | None
    paused_at: datetime | None
    tags: list[str]
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FoundRun:
    run_id: UUID


@dataclass(frozen=True, slots=True)
class EndedRun:
    """`status` is `missing` for a run that does not exist."""

    run_id: UUID
    status: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as a list shows it, without its payloads. `flow` is the slug of the flow, machine or
    job."""

    id: UUID
    flow: str
    kind: str
    version: int
    status: str
    key: str | None
    started_at: datetime
    ended_at: datetime | None
    remaining_steps: int
    failed_step: str | None
    error_message: str | None
    paused_at: datetime | None
    parent_id: UUID | None
    tags: list[str]
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepRow:
    step: str
    type: str
    status: str
    dependencies: list[str]
    initial_tasks: int | None
    completed_tasks: int
    running_tasks: int
    failed_attempts: int
    lost_workers: int
    skip_reason: str | None
    error_message: str | None
    output: str | None
    started_at: datetime | None
    ended_at: datetime | None
    next_at: datetime | None
    awaits: list[str] | None
    blocked_on: str | None


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    """An attempt that did not succeed."""

    step: str
    task_index: int
    attempt: int
    error_type: str
    error_message: str
    traceback: str | None
    worker_id: UUID | None
    started_at: datetime | None
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One queue of a version. `structure` is a list of steps as in a shape, parsed."""

    flow_slug: str
    version_id: int
    version: int
    queue: str
    kind: str
    kind: str
    structure: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue: how much of it is ready, since when, and how much runs. Ready tasks are counted up
    to 10,000."""

    queue: str
    ready: int
    oldest_at: datetime | None
    running: int
    paused_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class DefinitionInfo:
    """A flow, machine or job that is deployed. `queue` is that of its current version."""

    slug: str
    kind: str
    version: int
    queue: str
    paused_at: datetime | None
    reason: str | None


def get_runs(run_ids: Sequence[UUID]) -> Call[RunRow]:
    return Call(
        "select run_id, flow_slug, kind, version, status, input::text, output::text,"
        " error_message, failed_step, error_type, key, started_at, ended_at, state::text, priority,"
        " parent_run_id as parent_id, origin_run_id as origin_id, paused_at, tags, metadata"
        " from pgflow.get_runs(run_ids => %b::uuid[])",
        (list(run_ids),),
        RunRow,
    )


def find_run(key: str) -> Call[FoundRun]:
    """The live run with this key, else the one that had it last."""
    return Call("select run_id from pgflow.find_run(key => %s) as f (run_id)", (key,), FoundRun)


def ended_runs(run_ids: Sequence[UUID]) -> Call[EndedRun]:
    return Call(
        "select * from pgflow.ended_runs(run_ids => %b::uuid[])", (list(run_ids),), EndedRun
    )


def search_runs(filters: str = "{}", most: int = 50) -> Call[RunSummary]:
    """`filters` is a JSON object, as search.sql names its parts."""
    return Call(
        "select run_id as id, flow_slug as flow, kind, version, status, key, started_at, ended_at,"
        " remaining_steps, failed_step, error_message, paused_at, parent_run_id as parent_id, tags,"
        " metadata from pgflow.search_runs(filters => %s::text::jsonb, most => %s::int)",
        (filters, most),
        RunSummary,
    )


def runs_between(first: UUID, last: UUID, most: int = 2) -> Call[FoundRun]:
    """The runs whose ids lie between these two."""
    return Call(
        "select run_id from pgflow.runs_between(first => %s, last => %s, most => %s) as r (run_id)",
        (first, last, most),
        FoundRun,
    )


def run_steps(run_id: UUID) -> Call[StepRow]:
    return Call(
        "select step_slug as step, step_type as type, status, dependencies, initial_tasks,"
        " completed_tasks,"
        " running_tasks, failed_attempts, lost_workers, skip_reason, error_message, output::text,"
        " started_at, ended_at, next_at, awaits, blocked_on from pgflow.run_steps(run_id => %s)",
        (run_id,),
        StepRow,
    )


def run_attempts(run_id: UUID, most: int = 1000) -> Call[AttemptInfo]:
    return Call(
        "select step_slug as step, task_index, attempt, error_type, error_message, traceback,"
        " worker_id, started_at, failed_at"
        " from pgflow.run_attempts(run_id => %s, most => %s::int)",
        (run_id, most),
        AttemptInfo,
    )


def list_queues() -> Call[QueueInfo]:
    return Call("select * from pgflow.list_queues()", (), QueueInfo)


def list_flows() -> Call[DefinitionInfo]:
    return Call(
        "select flow_slug as slug, kind, version, queue, paused_at, reason"
        " from pgflow.list_flows()",
        (),
        DefinitionInfo,
    )


def versions_of(flow_slugs: Sequence[str]) -> Call[VersionRow]:
    return Call(
        "select * from pgflow.versions_of(flow_slugs => %s::text[])",
        (list(flow_slugs),),
        VersionRow,
    )
