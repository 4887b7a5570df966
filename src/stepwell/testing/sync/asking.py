# made by tools/sync.py out of testing/asking.py: change that, and run `python -m tools.sync`
"""What a test asks the kit for: the time, runs, and what was run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Any

from stepwell.client.identity import Target
from stepwell.client.logs import LogLine, ProgressInfo
from stepwell.client.reading import RunInfo, StepInfo
from stepwell.client.sync.client import SyncClient
from stepwell.define.context import LogLevel
from stepwell.testing.clock import Clock
from stepwell.testing.sync.expect import SyncExpect
from stepwell.testing.tally import MAX_STEPS_ON_THE_WAY, Tally, check_ran


class SyncAsking(ABC):
    """Asks by the kit's client."""

    client: SyncClient
    clock: Clock
    _so_far: Tally

    @property
    def now(self) -> datetime:
        """What time it is."""
        return self.clock.now

    def advance(
        self,
        by: timedelta = timedelta(),
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        drain: bool = True,
        max_steps: int = MAX_STEPS_ON_THE_WAY,
    ) -> Tally:
        """Let time pass. It goes from one due time to the next, of timers, deadlines and schedules,
        and drains at each, so that all happens in its order; with `drain=False` what is due only
        becomes ready."""
        more = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self.advance_to(self.now + by + more, drain=drain, max_steps=max_steps)

    @abstractmethod
    def advance_to(
        self, moment: datetime, *, drain: bool = True, max_steps: int = MAX_STEPS_ON_THE_WAY
    ) -> Tally:
        """Let time pass until a moment, as `advance` does."""

    def expect(self, target: Target) -> SyncExpect:
        """What the test says of a run: `kit.expect(run).completed()`."""
        return SyncExpect(self.client, target, self._so_far.by_run)

    def assert_ran(self, step: Any, times: int | None = None) -> None:
        """AssertionError unless this kit ran a step, so often if you say; as `Tally.assert_ran`,
        for all that was drained so far."""
        __tracebackhide__ = True
        check_ran(step, times, self._so_far.ran)

    def run(self, target: Target) -> RunInfo:
        """The run of that id or key as it is now; NotFound when there is none."""
        return self.client.get(target)

    def waiting_for(self, target: Target) -> list[StepInfo]:
        """The steps of a run that wait, each with what it waits for: `awaits` (signals), `next_at`
        (a time), `blocked_on` (a limit)."""
        steps = self.client.find(target).steps()
        return [s for s in steps if s.awaits or s.next_at or s.blocked_on or s.status == "waiting"]

    def logs(
        self, target: Target, step: str | None = None, *, level: LogLevel | None = None
    ) -> list[LogLine]:
        """What the handlers of a run said with `ctx.log`, or those of one step."""
        return self.client.find(target).logs(step, level=level)

    def progress(self, target: Target) -> list[ProgressInfo]:
        """How far the tasks of a run said they are."""
        return self.client.find(target).progress()

    def _counted(self, tally: Tally) -> Tally:
        self._so_far += tally
        return tally
