"""Runs that are handed to an archive before they go: for workers, and by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from stepwell.db.call import Call
from stepwell.db.prune import ROUND


@dataclass(frozen=True, slots=True)
class Batch:
    """`flow_slug` None: there is nothing to do for `again` seconds. Documents are JSON; of those
    that are `refused` there is none, for these reasons."""

    flow_slug: str | None
    run_ids: list[UUID]
    ended: list[datetime] | None
    documents: list[str] | None
    again: float
    refused: list[UUID] | None
    reasons: list[str] | None


@dataclass(frozen=True, slots=True)
class Documents:
    """Where to go on behind; `last_run` is None when there is no more. `refused`: as in a batch."""

    run_ids: list[UUID]
    ended: list[datetime]
    documents: list[str]
    refused: list[UUID]
    reasons: list[str]
    last_start: datetime | None
    last_run: UUID | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    runs: int


def take_archive(
    flow_slugs: Sequence[str], worker: UUID, days: float, every: timedelta = ROUND
) -> Call[Batch]:
    """The next runs of these flows for a worker to archive; they are in its hands for a while."""
    return Call(
        "select flow_slug, run_ids, ended, documents::text[], again, refused, reasons"
        " from pgflow.take_archive(flow_slugs => %s::text[], worker => %s::uuid,"
        " days => %s::float8, every => %s::interval)",
        (list(flow_slugs), worker, days, every),
        Batch,
    )


def end_archive(
    worker: UUID,
    flow_slug: str,
    run_ids: Sequence[UUID] = (),
    ended: Sequence[datetime] = (),
    pause: float = 0,
) -> Call[Forgotten]:
    """These are archived, and go; with a pause they could not be."""
    return Call(
        "select pgflow.end_archive(worker => %s::uuid, flow_slug => %s, run_ids => %s::uuid[],"
        " ended => %s::timestamptz[], pause => %s::float8) as runs",
        (worker, flow_slug, list(run_ids), list(ended), pause),
        Forgotten,
    )


def runs_to_archive(
    flow_slug: str,
    before: datetime,
    after_start: datetime | None = None,
    after_run: UUID | None = None,
) -> Call[Documents]:
    """A page of runs that ended before then and may go."""
    return Call(
        "select run_ids, ended, documents::text[], last_start, last_run, refused, reasons"
        " from pgflow.runs_to_archive(flow_slug => %s, before => %s::timestamptz,"
        " after_start => %s::timestamptz, after_run => %s::uuid)",
        (flow_slug, before, after_start, after_run),
        Documents,
    )


def forget_archived(run_ids: Sequence[UUID], ended: Sequence[datetime]) -> Call[Forgotten]:
    """Forget those that are still as they were read."""
    return Call(
        "select pgflow.forget_archived(run_ids => %s::uuid[], ended => %s::timestamptz[]) as runs",
        (list(run_ids), list(ended)),
        Forgotten,
    )
