"""What is due: timers, schedules, and children that were to end with their parent."""

from __future__ import annotations

from datetime import datetime, timedelta

from stepwell.db.maintain import end_orphans, promote_tasks
from stepwell.db.pool import Pool
from stepwell.db.schedule import list_schedules
from stepwell.testing.clock import Clock
from stepwell.worker.schedules import fire_due

AT_ONCE = 1000


class Timers:
    """The chores of a worker, each done when it is asked for."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def fire(self) -> int:
        """Fire all that is due by now; answers how many runs schedules started."""
        while (await self._pool.run(promote_tasks(AT_ONCE)))[0].promoted == AT_ONCE:
            pass
        while (await self._pool.run(end_orphans()))[0].cancelled:
            pass  # they may have had children of their own
        return await fire_due(self._pool.run)

    async def next(self) -> datetime | None:
        """When the next of them is due, after now."""
        now = self._clock.now
        [timers] = await self._pool.run(promote_tasks(0))
        slots = [s.next_at for s in await self._pool.run(list_schedules()) if s.paused_at is None]
        if timers.next_due is not None:
            slots.append(now + timedelta(seconds=timers.next_due))
        return min((at for at in slots if at > now), default=None)
