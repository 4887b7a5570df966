"""What happens to runs, as values, and how far a reader has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from stepwell.client.reading import value_of
from stepwell.db.events import Begun, BetweenRow, EventRow

LEASE = timedelta(minutes=5)  # how long a listener may be away; events are kept for twice as long
RENEWED = LEASE.total_seconds() / 5
PAGE = 500
SETTLING = 1.0  # seconds that who listens to all waits for transactions of before
SHORTEST = 0.02
LONGEST = 0.25
GROWTH = 1.5
OUTAGE = 0.5


@dataclass(frozen=True, slots=True)
class RunEvent:
    """What happened to a run, or to a `step` of its flow. `name` and `payload` are pgflow's:
    run:started, step:charge:completed. `status` is what the run or the step became."""

    run_id: UUID
    name: str
    step: str | None
    status: str
    at: datetime
    payload: dict[str, Any]

    @property
    def output(self) -> Any:
        return self.payload.get("output")

    @property
    def error_message(self) -> str | None:
        return self.payload.get("error_message")

    @property
    def ended(self) -> bool:
        """True for the last event of a run. (A retry begins it again.)"""
        return self.step is None and self.status != "started"


def event_from(run_id: UUID, name: str, payload: str, at: datetime) -> RunEvent:
    said: dict[str, Any] = value_of(payload)
    return RunEvent(run_id, name, said.get("step_slug"), said["status"], at, said)


@dataclass(slots=True)
class Place:
    """Where a listener is: in one run behind an event, in all of them (None) at a snapshot. Who is
    `behind` had more to read than a page."""

    run_id: UUID | None
    listener: UUID = field(default_factory=uuid4)
    after: int = 0
    seen: str = ""
    until: str | None = None
    behind: bool = False

    def begin(self, begun: Begun) -> RunEvent | None:
        """The last event, if the run has ended."""
        self.after, self.seen = begun.after or 0, begun.seen or ""
        return self.resume(begun)

    def resume(self, begun: Begun) -> RunEvent | None:
        """The same after a lease that lapsed: what is still there of the time before is read."""
        if self.run_id is None or begun.event is None:
            return None
        assert begun.payload is not None and begun.at is not None
        return event_from(self.run_id, begun.event, begun.payload, begun.at)

    def of_run(self, rows: Sequence[EventRow]) -> list[RunEvent]:
        """What is new of a page; others may have read the same run from an earlier place."""
        fresh = [row for row in rows if row.event_id > self.after]
        self.behind = len(rows) >= PAGE
        if fresh:
            self.after = fresh[-1].event_id
        return [event_from(row.run_id, row.event, row.payload, row.at) for row in fresh]

    def of_all(self, rows: Sequence[BetweenRow]) -> list[RunEvent]:
        """A page. All pages up to one snapshot are read before the next snapshot is taken."""
        found = list[RunEvent]()
        for row in rows:
            if row.event_id is not None:
                assert row.run_id and row.event and row.payload and row.at
                self.after = row.event_id
                found.append(event_from(row.run_id, row.event, row.payload, row.at))
        self.behind = len(found) >= PAGE
        if self.behind:
            self.until = rows[0].snapshot
        else:
            self.seen, self.until, self.after = rows[0].snapshot, None, 0
        return found
