"""What ended long ago goes: the sweep of every worker, and the same by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from stepwell.db.call import Call

ROUND = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Pruned:
    """`again`: seconds until there is more to do."""

    deleted: int
    workers: int
    again: float


@dataclass(frozen=True, slots=True)
class Page:
    """Where to go on behind; `last_run` is None when there is no more."""

    deleted: int
    looked: int
    last_start: datetime | None
    last_run: UUID | None


@dataclass(frozen=True, slots=True)
class Retention:
    """`kept_days` 0: for ever; `archive`: its workers archive runs before they go."""

    flow_slug: str
    kept_days: float
    archive: bool


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Where to go on behind; `last_id` is None when there is no more."""

    deleted: int
    last_id: int | None


@dataclass(frozen=True, slots=True)
class Noted:
    done: str | None


def prune(days: float, every: timedelta = ROUND) -> Call[Pruned]:
    """The next bit of the sweep over all definitions, which begins again so often."""
    return Call(
        "select * from pgflow.prune(days => %s::float8, every => %s::interval)",
        (days, every),
        Pruned,
    )


def prune_runs(
    flow_slug: str,
    before: datetime,
    after_start: datetime | None = None,
    after_run: UUID | None = None,
) -> Call[Page]:
    """Forget runs that ended before then, some at a time."""
    return Call(
        "select * from pgflow.prune_runs(flow_slug => %s, before => %s::timestamptz,"
        " after_start => %s::timestamptz, after_run => %s::uuid)",
        (flow_slug, before, after_start, after_run),
        Page,
    )


def prune_audit(days: float, after: int = 0, most: int = 1000) -> Call[AuditPage]:
    """Forget the oldest rows of the audit that are older than that, some at a time."""
    return Call(
        "select * from pgflow.prune_audit("
        "days => %s::float8, after => %s::bigint, most => %s::int)",
        (days, after, most),
        AuditPage,
    )


def kept_runs(days: float) -> Call[Retention]:
    """How many days the runs of each definition are kept."""
    return Call("select * from pgflow.kept_runs(days => %s::float8)", (days,), Retention)


def note_pruned(flow_slug: str, before: datetime, runs: int, actor: str | None) -> Call[Noted]:
    """Leave a row in the audit."""
    return Call(
        "select pgflow.note_pruned(flow_slug => %s, before => %s::timestamptz, runs => %s::int,"
        " actor => %s::text)::text as done",
        (flow_slug, before, runs, actor),
        Noted,
    )
