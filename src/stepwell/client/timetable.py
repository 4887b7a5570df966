"""What a schedule is to a caller, and its next slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.db.schedule import Moment, ScheduleRow
from stepwell.define.payload import encode
from stepwell.define.schedule import when_of
from stepwell.errors import DefinitionError, NotFound, PayloadError

MOST_SLOTS = 1000


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it is now. `next_at` is its next slot, also while it is paused; `waiting` is
    how many slots wait for the end of a run; `error` says why the last firing started nothing."""

    name: str
    flow: str
    kind: str
    version: int | None
    when: str
    input: Any
    overlap: str
    catch_up: str
    priority: int | None
    tags: list[str]
    metadata: dict[str, Any]
    created_at: datetime
    paused_at: datetime | None
    next_at: datetime
    last_slot: datetime | None
    last_run_id: UUID | None
    waiting: int
    error: str | None


def the_only(rows: Sequence[ScheduleRow], name: str) -> ScheduleRow:
    for row in rows:
        return row
    raise NotFound(f"no schedule {name!r} in this database; start a worker that has it")


def slots_of(
    now: Sequence[Moment], rows: Sequence[ScheduleRow], name: str, count: int
) -> list[datetime]:
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_SLOTS:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PayloadError(
            f"count is {count!r}; it must be a whole number between 1 and {MOST_SLOTS}"
        )
    when = when_of(the_only(rows, name).spec)
    slots = [now[0].at]
    for _ in range(count):
        slots.append(when.next(slots[-1]))
    return slots[1:]


def info_of(row: ScheduleRow) -> ScheduleInfo:
    return ScheduleInfo(
        name=row.name,
        flow=row.flow_slug,
        kind=row.kind,
        version=row.version,
        when=when_text(row),
        input=row.input,
        overlap=row.overlap,
        catch_up=row.catch_up,
        priority=row.options.get("priority"),
        tags=row.options.get("tags", []),
        metadata=row.options.get("metadata", {}),
        created_at=row.created_at,
        paused_at=row.paused_at,
        next_at=row.next_at,
        last_slot=row.last_slot,
        last_run_id=row.last_run_id,
        waiting=row.waiting,
        error=row.error_message,
    )


def when_text(row: ScheduleRow) -> str:
    """In the words of this code, or as it is stored when newer code wrote it."""
    try:
        return str(when_of(row.spec))
    except DefinitionError:
        return encode(row.spec).decode()
