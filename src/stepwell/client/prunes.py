"""Pruning by hand, as the calls it takes: each is sent to whoever runs calls, sync or async."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from datetime import datetime, timedelta
from typing import Any

from stepwell.client.definition import Definition, slug_of
from stepwell.db.call import Call
from stepwell.db.prune import Retention, note_pruned, prune_runs, retentions
from stepwell.db.schedule import moment
from stepwell.define.slug import meant
from stepwell.errors import NotFound, PayloadError

Calls = Generator[Call[Any], list[Any], dict[str, int]]


def pruning(
    older_than: timedelta | None,
    flows: Iterable[Definition | str],
    default_days: float,
    actor: str | None,
) -> Calls:
    """Answers with how many runs of which definition are gone."""
    if older_than is not None and older_than < timedelta():
        raise PayloadError(f"older_than is {older_than}; it must be a time, not one to come")
    named = {slug_of(each) for each in flows}
    [now] = yield moment()
    known: list[Retention] = yield retentions(default_days)
    check_named(named, known)
    gone: dict[str, int] = {}
    for each in known:
        days = days_of(each, older_than, named)
        if days is None:
            continue
        before: datetime = now.at - days
        count = yield from pruned(each.flow_slug, before)
        if count:
            gone[each.flow_slug] = count
            yield note_pruned(each.flow_slug, before, count, actor)
    return gone


def pruned(slug: str, before: datetime) -> Generator[Call[Any], list[Any], int]:
    """Page by page, each a transaction of its own."""
    count, start, run = 0, None, None
    while True:
        [page] = yield prune_runs(slug, before, start, run)
        count += page.deleted
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


def check_named(named: Collection[str], known: Iterable[Retention]) -> None:
    """NotFound names what is not there."""
    slugs = [each.flow_slug for each in known]
    for slug in sorted(set(named) - set(slugs)):
        raise NotFound(f"no flow, machine or job {slug!r} in this database{meant(slug, slugs)}")
