"""Pruning by hand, as the calls it takes: each is sent to whoever runs calls, sync or async; and
runs are handed to whoever calls an archive."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from stepwell.db.archive import forget_archived, runs_to_archive
from stepwell.db.call import Call
from stepwell.db.prune import Retention, kept_runs, note_pruned, prune_runs
from stepwell.db.schedule import moment
from stepwell.define.archive import ArchivedRun
from stepwell.define.definition import Definition, slug_of
from stepwell.define.slug import meant
from stepwell.errors import Conflict, NotFound, PayloadError
from stepwell.observe.emit import emit
from stepwell.observe.events import RunNotArchived


@dataclass(frozen=True, slots=True)
class Hand:
    """These are to be archived before the next call."""

    runs: list[ArchivedRun]


Steps = Generator[Call[Any] | Hand, list[Any], int]
Calls = Generator[Call[Any] | Hand, list[Any], dict[str, int]]


def pruning(
    older_than: timedelta | None,
    flows: Iterable[Definition | str],
    default_days: float,
    actor: str | None,
    *,
    archive: bool,
) -> Calls:
    """Answers with how many runs of which definition are gone. Runs that are to be archived go
    only with an archive."""
    if older_than is not None and older_than < timedelta():
        raise PayloadError(f"older_than is {older_than}; it must be a time, not one to come")
    named = {slug_of(each) for each in flows}
    [now] = yield moment()
    known: list[Retention] = yield kept_runs(default_days)
    check_named(named, known, archive)
    gone: dict[str, int] = {}
    for each in known:
        days = days_of(each, older_than, named)
        if days is None or (each.archive and not archive):
            continue
        before: datetime = now.at - days
        slug = each.flow_slug
        count = yield from (archived(slug, before) if archive else pruned(slug, before))
        if count:
            gone[slug] = count
            yield note_pruned(slug, before, count, actor)
    return gone


def pruned(slug: str, before: datetime) -> Steps:
    """Page by page, each a transaction of its own."""
    count, start, run = 0, None, None
    while True:
        [page] = yield prune_runs(slug, before, start, run)
        count += page.deleted
        if page.last_run is None:
            return count
        start, run = page.last_start, page.last_run


def archived(slug: str, before: datetime) -> Steps:
    """The same, and each page is archived before it goes. What cannot be archived stays."""
    count, start, run = 0, None, None
    while True:
        [page] = yield runs_to_archive(slug, before, start, run)
        for run_id, reason in zip(page.refused, page.reasons, strict=True):
            emit(RunNotArchived(slug, run_id, reason))
        if page.run_ids:
            yield Hand([ArchivedRun.read(each) for each in page.documents])
            [gone] = yield forget_archived(page.run_ids, page.ended)
            count += gone.runs
        if page.last_run is None:
            return count
        start, run = page.last_start, page.last_run


def days_of(
    each: Retention, older_than: timedelta | None, named: Collection[str]
) -> timedelta | None:
    """How long its runs are kept this time; None: they are left alone."""
    if named and each.flow_slug not in named:
        return None
    if each.kept_days == 0 and (older_than is None or not named):
        return None
    return timedelta(days=each.kept_days) if older_than is None else older_than


def check_named(named: Collection[str], known: Iterable[Retention], archive: bool) -> None:
    """NotFound names what is not there, Conflict what wants an archive."""
    by_slug = {each.flow_slug: each for each in known}
    for slug in sorted(named):
        if slug not in by_slug:
            there = meant(slug, list(by_slug))
            raise NotFound(f"no flow, machine or job {slug!r} in this database{there}")
        if by_slug[slug].archive and not archive:
            raise Conflict(
                f"runs of {slug!r} are archived before they go, which its workers do; to do it "
                "here, say where to: prune(..., archive=...), or `stepwell prune --to runs.jsonl`"
            )
