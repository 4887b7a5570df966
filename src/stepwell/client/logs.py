"""What the handlers of a run said: which lines are wanted, and how far a reader has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from stepwell.client.reading import MOST_ATTEMPTS, checked_limit
from stepwell.db.call import Call
from stepwell.db.notes import LogRow, ProgressInfo, run_logs, run_progress
from stepwell.define.context import LEVELS, LogLevel
from stepwell.errors import PayloadError

__all__ = ["LogLine", "ProgressInfo", "Tail", "Wanted", "lines_of", "progress_of"]

PAGE = 1000


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of `ctx.log`: the n-th of one execution. `level` is debug, info, warning or error;
    `id` is its place in the log of its run."""

    id: str
    step: str
    task_index: int
    attempt: int
    n: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines of a run; None: any. `level` is the least."""

    run_id: UUID
    step: str | None = None
    task_index: int | None = None
    attempt: int | None = None
    level: LogLevel | None = None

    @property
    def levels(self) -> Sequence[str] | None:
        if self.level is None:
            return None
        if self.level not in LEVELS:
            raise PayloadError(
                f"no line has level {self.level!r}; it is one of {', '.join(LEVELS)}"
            )
        return LEVELS[LEVELS.index(self.level) :]

    def page(self, limit: int, newest: bool, after: LogLine | None) -> Call[LogRow]:
        """The first lines, or the newest."""
        if newest and after is not None:
            raise PayloadError("newest and after: the newest lines are behind no other; say one")
        xid, _, log_id = after.id.partition("-") if after else (None, "", None)
        return run_logs(
            self.run_id,
            self.step,
            self.task_index,
            self.attempt,
            self.levels,
            checked_limit(limit, MOST_ATTEMPTS),
            newest,
            after_xid=xid,
            after_log=None if log_id is None else int(log_id),
        )


class Tail:
    """Where a reader is that misses no line and gets none twice. `newest`: it begins with so many;
    else with the first."""

    def __init__(self, wanted: Wanted, newest: int | None = None) -> None:
        self.wanted = wanted
        self.behind = False  # there is another page
        self._newest = newest
        self._seen: str | None = None
        self._until: str | None = None
        self._last: LogRow | None = None

    def call(self) -> Call[LogRow]:
        """What to ask next."""
        wanted, last = self.wanted, self._last
        which = (wanted.run_id, wanted.step, wanted.task_index, wanted.attempt, wanted.levels)
        if self._newest is not None:
            return run_logs(*which, self._newest, True)
        return run_logs(
            *which,
            PAGE,
            seen=self._seen,
            until=self._until,
            after_xid=last.xid if last else None,
            after_log=last.log_id if last else None,
        )

    def take(self, rows: Sequence[LogRow]) -> list[LogLine]:
        """The lines of an answer."""
        lines = lines_of(rows)
        self.behind = self._newest is None and len(lines) >= PAGE
        self._newest = None
        if self.behind:
            self._until, self._last = rows[0].snapshot, rows[-1]
        else:
            self._seen, self._until, self._last = self._until or rows[0].snapshot, None, None
        return lines


def lines_of(rows: Sequence[LogRow]) -> list[LogLine]:
    """In the order in which they were written."""
    return [line_of(row) for row in rows if row.log_id is not None]


def line_of(row: LogRow) -> LogLine:
    _, *rest = fields(LogLine)
    values = {each.name: getattr(row, each.name) for each in rest}
    return LogLine(f"{row.xid}-{row.log_id}", **values)


def progress_of(run_id: UUID, limit: int) -> Call[ProgressInfo]:
    return run_progress(run_id, checked_limit(limit, MOST_ATTEMPTS))
