"""What bodies say while they run: written by their worker, read by clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Said:
    """How far the holder of a claim is; `ago` None: it did not say."""

    message_id: int
    token: int
    share: float | None = None
    message: str | None = None
    ago: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A log line: the n-th of its claim, said so many seconds ago."""

    token: int
    n: int
    ago: float
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What became of what was said under a claim: written, stale, or busy (try again)."""

    token: int
    verdict: str


@dataclass(frozen=True, slots=True)
class LogRow:
    """A line, or none (`log_id` None); `snapshot` is how far this looked."""

    snapshot: str
    xid: str | None
    log_id: int | None
    step: str | None
    task_index: int | None
    attempt: int | None
    token: int | None
    n: int | None
    at: datetime | None
    level: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class ProgressInfo:
    """How far a task said that it is: a share of 1, or None; a message. `running` is False when
    that was the word of an attempt that is over."""

    step: str
    task_index: int
    attempt: int
    share: float | None
    message: str | None
    at: datetime
    running: bool


def write_notes(said: Sequence[Said], lines: Sequence[Line]) -> Call[Noted]:
    """May be repeated: a line is known by its claim and its number."""
    return Call(
        "select claim_token as token, verdict from pgflow.write_notes("
        "message_ids => %s::bigint[], tokens => %s::bigint[], shares => %s::real[],"
        " said => %s::text[], said_ago => %s::float8[], line_tokens => %s::bigint[],"
        " line_numbers => %s::int[], lines_ago => %s::float8[], levels => %s::text[],"
        " lines => %s::text[])",
        (
            [each.message_id for each in said],
            [each.token for each in said],
            [each.share for each in said],
            [each.message for each in said],
            [each.ago for each in said],
            [line.token for line in lines],
            [line.n for line in lines],
            [line.ago for line in lines],
            [line.level for line in lines],
            [line.message for line in lines],
        ),
        Noted,
    )


def run_logs(
    run_id: UUID,
    step: str | None = None,
    task_index: int | None = None,
    attempt: int | None = None,
    levels: Sequence[str] | None = None,
    most: int = 1000,
    newest: bool = False,
    seen: str | None = None,
    until: str | None = None,
    after_xid: str | None = None,
    after_log: int | None = None,
) -> Call[LogRow]:
    """The first lines, or the newest; with `seen` what was written since that snapshot, in pages
    of one `until`, each after the last line of the one before."""
    return Call(
        "select snapshot, xid, log_id, step_slug as step, task_index, attempt,"
        " claim_token as token, n, at, level, message"
        " from pgflow.run_logs(run_id => %s, only_step => %s::text, only_index => %s::int,"
        " only_attempt => %s::int, only_levels => %s::text[], most => %s::int,"
        " newest => %s::boolean, seen => %s::text, until => %s::text, after_xid => %s::text,"
        " after_log => %s::bigint)",
        (
            run_id,
            step,
            task_index,
            attempt,
            None if levels is None else list(levels),
            most,
            newest,
            seen,
            until,
            after_xid,
            after_log,
        ),
        LogRow,
    )


def run_progress(run_id: UUID, most: int = 1000) -> Call[ProgressInfo]:
    """Those that run first, the newest of them before others."""
    return Call(
        "select step_slug as step, task_index, attempt, share, message, at, running"
        " from pgflow.run_progress(run_id => %s, most => %s::int)",
        (run_id, most),
        ProgressInfo,
    )
