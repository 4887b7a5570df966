"""Make the database have the schedules of this code."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Raw

from stepwell.compile.deploy import Runs
from stepwell.db.call import one
from stepwell.db.schedule import EnsuredSchedule, ensure_schedules, moment
from stepwell.define.payload import encode
from stepwell.define.schedule import Schedule, by_name, spec_of


async def deploy_schedules(pool: Runs, schedules: Iterable[Schedule]) -> list[EnsuredSchedule]:
    """Add and update these schedules; others stay. A new one, or one whose times changed, begins
    with its next slot. Deploy what they start first."""
    wanted = by_name(schedules).values()
    if not wanted:
        return []
    now = one(await pool.run(moment())).at
    data = encode([as_data(each, now) for each in wanted])
    return await pool.run(ensure_schedules(data.decode()))


def as_data(schedule: Schedule, now: datetime) -> dict[str, Any]:
    """A schedule as plain data, as schedule.sql names its parts."""
    started = schedule.started
    return {
        "name": schedule.name,
        "flow": started.slug,
        "kind": started.kind,
        "version": started.version if started.kind == "machine" else None,
        "input": Raw(started.input),
        "spec": spec_of(schedule.when),
        "overlap": schedule.overlap,
        "catchUp": schedule.catch_up,
        "options": options_of(schedule),
        "paused": schedule.paused,
        "next": schedule.when.next(now),
    }


def options_of(schedule: Schedule) -> dict[str, Any]:
    """What each of its runs is started with, as start.sql names it."""
    said = {
        "priority": schedule.priority,
        "tags": schedule.tags or None,
        "metadata": schedule.metadata or None,
    }
    return {name: value for name, value in said.items() if value is not None}
