"""Listening to what happens to runs: leases of listeners, and what there is to read. JSON comes as
text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to read on: after an event of the run, or from a snapshot. `event` is the last one of a
    run that has ended; then nothing began."""

    after: int | None
    seen: str | None
    event: str | None
    payload: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class EventRow:
    event_id: int
    run_id: UUID
    event: str
    payload: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BetweenRow:
    """An event of any run, or None where there was none; `snapshot` is how far this looked."""

    snapshot: str
    event_id: int | None
    run_id: UUID | None
    event: str | None
    payload: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Kept:
    listener: UUID


@dataclass(frozen=True, slots=True)
class Stopped:
    count: int


@dataclass(frozen=True, slots=True)
class Pruned:
    count: int


@dataclass(frozen=True, slots=True)
class Under:
    """Numbers of transactions: the oldest that is under way, and the next to begin."""

    oldest: int
    next: int


def listen_to(listener: UUID, run_id: UUID | None, lease: timedelta) -> Call[Begun]:
    """A repeated call renews the lease, and begins to read anew."""
    return Call(
        "select * from pgflow.listen_to("
        "listener => %s::uuid, run => %s::uuid, lease => %s::interval)",
        (listener, run_id, lease),
        Begun,
    )


def keep_listening(listeners: Sequence[UUID], lease: timedelta) -> Call[Kept]:
    """Renew; answers with those that had not lapsed."""
    return Call(
        "select listener from pgflow.keep_listening("
        "listeners => %s::uuid[], lease => %s::interval) listener",
        (list(listeners), lease),
        Kept,
    )


def stop_listening(listeners: Sequence[UUID]) -> Call[Stopped]:
    return Call(
        "select pgflow.stop_listening(listeners => %s::uuid[]) as count",
        (list(listeners),),
        Stopped,
    )


def events_of(run_ids: Sequence[UUID], after: Sequence[int], most: int) -> Call[EventRow]:
    """What happened to each of these runs after an event, in order."""
    return Call(
        "select * from pgflow.events_of("
        "runs => %s::uuid[], after => %s::bigint[], most => %s::int)",
        (list(run_ids), list(after), most),
        EventRow,
    )


def events_between(seen: str, until: str | None, after: int, most: int) -> Call[BetweenRow]:
    """What happened to all runs since a snapshot, without gaps; a page of it with `until` and
    `after` of the page before."""
    return Call(
        "select * from pgflow.events_between("
        "seen => %s::text, until => %s::text, after => %s::bigint, most => %s::int)",
        (seen, until, after, most),
        BetweenRow,
    )


def transactions() -> Call[Under]:
    """To wait until all have ended that were under way at some moment."""
    return Call(
        "select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint"
        " as next from pg_current_snapshot() s",
        (),
        Under,
    )


def prune_events() -> Call[Pruned]:
    """Forget old events, and listeners that did not come back."""
    return Call("select pgflow.prune_events() as count", (), Pruned)
