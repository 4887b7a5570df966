"""Outcomes of claimed tasks, written in batches; the same round trip brings the next tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from stepwell.db.call import Call
from stepwell.db.claim import Task


@dataclass(frozen=True, slots=True)
class Entry:
    """One outcome under the token of its claim. `outcome` is one of the words of commit.sql, and
    `output` is what that word wants beside it."""

    message_id: int
    token: int
    outcome: str
    output: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    delays: bool = False  # it arms a timer


@dataclass(frozen=True, slots=True)
class Row:
    """A task to run, or what its verdict is about: the commit, or the run of a task."""

    verdict: str | None
    queue: str | None
    message_id: int | None
    claim_token: int | None
    run_id: UUID | None
    flow_slug: str | None
    version_id: int | None
    step_slug: str | None
    task_index: int | None
    attempt: int | None
    max_attempts: int | None
    timeout: int | None
    started_at: datetime | None
    input: str | None
    flow_input: str | None
    kind: str | None
    key: str | None
    crashes: int | None
    signals: str | None
    children: str | None
    version: int | None
    seconds: float | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that a turn brought to its end."""

    run_id: UUID
    flow_slug: str
    kind: str
    status: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What one round trip brought: tokens of dropped outcomes, queues with work left, tasks,
    and tokens of outcomes that were not written because somebody holds their run. `contended`:
    there is work that was in other hands just then. `delayed`: a limit put work off, so there is a
    timer that nobody knows of."""

    stale: frozenset[int]
    ready: tuple[str, ...]
    tasks: tuple[Task, ...]
    busy: frozenset[int] = frozenset()
    contended: bool = False
    delayed: bool = False
    ended: tuple[RunEnd, ...] = ()


def commit_and_claim(
    worker: UUID,
    entries: Sequence[Entry],
    queues: Sequence[str],
    versions: Sequence[int],
    want: int,
    *,
    patient: bool = True,
) -> Call[Row]:
    """Without patience the outcomes of a run that somebody holds come back as busy."""
    return Call(
        "select * from pgflow.commit_and_claim(worker => %b, message_ids => %b::bigint[],"
        " tokens => %b::bigint[], outcomes => %b::text[], outputs => %b::text[]::jsonb[],"
        " error_types => %b::text[], error_messages => %b::text[], tracebacks => %b::text[],"
        " lane_queues => %b::text[], lane_versions => %b::int[], want => %b::int,"
        " patient => %b)",
        _arguments(worker, entries, queues, versions, want, patient),
        Row,
    )


def observed_turn(
    worker: UUID,
    entries: Sequence[Entry],
    queues: Sequence[str],
    versions: Sequence[int],
    want: int,
    *,
    patient: bool = True,
) -> Call[Row]:
    """The same; its tasks say how long they were ready and what trace they are part of, and it
    says which runs ended."""
    return Call(
        "select * from pgflow.observed_turn(worker => %b, message_ids => %b::bigint[],"
        " tokens => %b::bigint[], outcomes => %b::text[], outputs => %b::text[]::jsonb[],"
        " error_types => %b::text[], error_messages => %b::text[], tracebacks => %b::text[],"
        " lane_queues => %b::text[], lane_versions => %b::int[], want => %b::int,"
        " patient => %b)",
        _arguments(worker, entries, queues, versions, want, patient),
        Row,
    )


def ended_run(run_id: UUID) -> Call[RunEnd]:
    """The run, if it has ended."""
    return Call("select * from pgflow.ended_run(run => %s)", (run_id,), RunEnd)


def _arguments(
    worker: UUID,
    entries: Sequence[Entry],
    queues: Sequence[str],
    versions: Sequence[int],
    want: int,
    patient: bool,
) -> tuple[Any, ...]:
    return (
        worker,
        [e.message_id for e in entries],
        [e.token for e in entries],
        [e.outcome for e in entries],
        [e.output for e in entries],
        [e.error_type for e in entries],
        [e.error_message for e in entries],
        [e.traceback for e in entries],
        list(queues),
        list(versions),
        want,
        patient,
    )


async def take_turn(conn: AsyncConnection[Any], call: Call[Row]) -> Turn:
    """Run it and sort the rows: the hot path, so rows stay tuples until they are tasks."""
    cursor = await conn.execute(call.sql, call.args, binary=True)
    return turn_of(await cursor.fetchall())


def turn_of(rows: Sequence[tuple[Any, ...]]) -> Turn:
    tasks = tuple(Task(*row[2:]) for row in rows if row[0] is None)
    if labels := {row[4]: row[13] for row in rows if row[0] == "labels"}:
        tasks = tuple(replace(task, labels=labels.get(task.run_id)) for task in tasks)
    return Turn(
        stale=frozenset(row[3] for row in rows if row[0] == "stale"),
        ready=tuple(row[1] for row in rows if row[0] == "ready"),
        tasks=tasks,
        busy=frozenset(row[3] for row in rows if row[0] == "busy"),
        contended=any(row[0] == "contended" for row in rows),
        delayed=any(row[0] == "delayed" for row in rows),
        ended=tuple(
            RunEnd(row[4], row[5], row[15], row[1], row[21]) for row in rows if row[0] == "ended"
        ),
    )


def lingering(entry: Entry) -> Entry:
    """The entry of a handler that was given up and still runs in its thread: its claim is over, its
    slots are not, until `released` says so."""
    said = json.loads(entry.output or "{}")
    return replace(entry, output=json.dumps({**said, "lingers": True}))


def released(message_id: int, token: int) -> Entry:
    """Not an outcome: a body whose claim was taken away has ended, and its slots are free."""
    return Entry(message_id, token, "released")


def refused(entry: Entry, reason: str) -> Entry:
    """The entry that is written in place of one that Postgres did not take."""
    return replace(
        entry,
        outcome="failed",
        output=None,
        error_type="OutputRefused",
        error_message=f"Postgres refused the outcome: {reason}".replace("\0", "�"),
        traceback=None,
        delays=True,
    )
