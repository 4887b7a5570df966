# made by tools/sync.py out of client/schedules.py: change that, and run `python -m tools.sync`
"""Schedules by name: look at them, pause them, start them now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from stepwell.client.reading import reader_of
from stepwell.client.sync.run import SyncRun
from stepwell.client.sync.session import SyncSession
from stepwell.client.timetable import ScheduleInfo, info_of, slots_of, the_only
from stepwell.client.wakes import Wake
from stepwell.db.schedule import (
    delete_schedule,
    list_schedules,
    moment,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
)
from stepwell.define.ids import new_run_id


class SyncSchedules:
    """The schedules of a database. NotFound when there is none of that name.

    Each call that changes something leaves a row in the audit; `actor` is who did it.
    """

    def __init__(self, session: SyncSession) -> None:
        self._session = session

    def get(self, name: str) -> ScheduleInfo:
        """The schedule as it is now."""
        return info_of(the_only(self._session.pool.run(list_schedules(name)), name))

    def pause(self, name: str, *, actor: str | None = None) -> bool:
        """Fire no slot until it is resumed; False when it is paused already."""
        call = pause_schedule(name, actor or self._session.actor)
        return self._session.pool.run(call)[0].done

    def resume(self, name: str, *, actor: str | None = None) -> bool:
        """Fire slots again; False when it is not paused. Its `catch_up` says what of the pause is
        made up for."""
        call = resume_schedule(name, actor or self._session.actor)
        [answer] = self._session.pool.run(call)
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
