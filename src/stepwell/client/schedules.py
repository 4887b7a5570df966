"""Schedules by name: look at them, pause them, start them now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from stepwell.client.reading import reader_of
from stepwell.client.run import Run, Session
from stepwell.client.sync_run import SyncRun, SyncSession
from stepwell.client.wakes import Wake
from stepwell.db.schedule import (
    Moment,
    ScheduleRow,
    delete_schedule,
    list_schedules,
    moment,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
)
from stepwell.define.ids import new_run_id
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


class Schedules:
    """The schedules of a database. NotFound when there is none of that name.

    Each call that changes something leaves a row in the audit; `actor` is who did it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(self, name: str) -> ScheduleInfo:
        """The schedule as it is now."""
        return info_of(the_only(await self._session.pool.run(list_schedules(name)), name))

    async def pause(self, name: str, *, actor: str | None = None) -> bool:
        """Fire no slot until it is resumed; False when it is paused already."""
        call = pause_schedule(name, actor or self._session.actor)
        return (await self._session.pool.run(call))[0].done

    async def resume(self, name: str, *, actor: str | None = None) -> bool:
        """Fire slots again; False when it is not paused. Its `catch_up` says what of the pause is
        made up for."""
        call = resume_schedule(name, actor or self._session.actor)
        [answer] = await self._session.pool.run(call)
        await self._session.wakes.wake(Wake(answer.flow_slug))
        return answer.done

    async def trigger(self, name: str, *, actor: str | None = None) -> Run[Any]:
        """Start a run now, whatever overlaps, and also of a paused schedule. Its slots stay."""
        call = trigger_schedule(name, new_run_id(), actor or self._session.actor)
        [started] = await self._session.pool.run(call)
        await self._session.wakes.wake(Wake(started.flow_slug))
        return Run(started.run_id, True, self._session, reader_of(None))

    async def delete(self, name: str, *, actor: str | None = None) -> None:
        """Forget the schedule; its runs stay. Code that still has it makes it anew when it is
        deployed."""
        await self._session.pool.run(delete_schedule(name, actor or self._session.actor))

    async def next(self, name: str, count: int = 5) -> Sequence[datetime]:
        """The next slots from now on, in UTC, at most 1,000."""
        now = await self._session.pool.run(moment())
        return slots_of(now, await self._session.pool.run(list_schedules(name)), name, count)

    async def list(self) -> Sequence[ScheduleInfo]:
        """All schedules, by name."""
        return [info_of(row) for row in await self._session.pool.run(list_schedules())]


class SyncSchedules:
    """What Schedules is, with blocking calls."""

    def __init__(self, session: SyncSession) -> None:
        self._session = session

    def get(self, name: str) -> ScheduleInfo:
        """The schedule as it is now."""
        return info_of(the_only(self._session.pool.run(list_schedules(name)), name))

    def pause(self, name: str, *, actor: str | None = None) -> bool:
        """Fire no slot until it is resumed; False when it is paused already."""
        return self._session.pool.run(pause_schedule(name, actor or self._session.actor))[0].done

    def resume(self, name: str, *, actor: str | None = None) -> bool:
        """Fire slots again; False when it is not paused. Its `catch_up` says what of the pause is
        made up for."""
        [answer] = self._session.pool.run(resume_schedule(name, actor or self._session.actor))
        self._session.wakes.wake(Wake(answer.flow_slug))
        return answer.done

    def trigger(self, name: str, *, actor: str | None = None) -> SyncRun[Any]:
        """Start a run now, whatever overlaps, and also of a paused schedule. Its slots stay."""
        call = trigger_schedule(name, new_run_id(), actor or self._session.actor)
        [started] = self._session.pool.run(call)
        self._session.wakes.wake(Wake(started.flow_slug))
        return SyncRun(started.run_id, True, self._session, reader_of(None))

    def delete(self, name: str, *, actor: str | None = None) -> None:
        """Forget the schedule; its runs stay. Code that still has it makes it anew when it is
        deployed."""
        self._session.pool.run(delete_schedule(name, actor or self._session.actor))

    def next(self, name: str, count: int = 5) -> Sequence[datetime]:
        """The next slots from now on, in UTC, at most 1,000."""
        now = self._session.pool.run(moment())
        return slots_of(now, self._session.pool.run(list_schedules(name)), name, count)

    def list(self) -> Sequence[ScheduleInfo]:
        """All schedules, by name."""
        return [info_of(row) for row in self._session.pool.run(list_schedules())]


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
