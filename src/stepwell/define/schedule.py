"""A schedule: what to start and when, and what becomes of slots that overlap or were missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal, cast

from stepwell.define.calls import Called, called
from stepwell.define.choices import check_bool, check_choice
from stepwell.define.cron import Cron, check_zone, cron
from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.labels import Metadata, Tags, checked_metadata, checked_tags
from stepwell.define.machine import Machine
from stepwell.define.options import check_priority
from stepwell.define.slug import FLOW_RESERVED, check_slug
from stepwell.define.startable import Startable
from stepwell.errors import DefinitionError, PayloadError

__all__ = ["CatchUp", "Every", "Overlap", "Schedule", "When", "by_name", "cron", "every", "when_of"]

Overlap = Literal["skip", "queue", "allow"]
CatchUp = Literal["none", "one", "all"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=36_500)

Target = Startable | Flow[None, Any] | Job[[], Any, ...] | type[Machine]


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed interval, counted from one anchor, so that every worker sees the same slots."""

    interval: timedelta
    start: datetime = EPOCH

    def __str__(self) -> str:
        return f"every {self.interval}"

    def next(self, after: datetime) -> datetime:
        """The first slot later than `after`, in UTC; none comes before the start."""
        check_zone(after, "next")
        passed = (after.astimezone(UTC) - self.start) // self.interval
        return self.start + max(passed + 1, 0) * self.interval


When = Cron | Every


@dataclass(frozen=True, slots=True)
class Schedule:
    """Start a target at every slot, once, however many workers run.

    The target is a machine, or the call of a flow or a job; a flow, job or class of machines that
    needs no input stands for itself. `overlap` says what a slot does while a run of an earlier
    one is live: `skip` it, `queue` it until that run has ended, or `allow` both. `catch_up` says
    which of the slots that were missed while no worker ran are made up for: `none`, the latest
    `one`, or `all`.

    >>> Schedule("nightly", Flow("tidy"), cron("0 3 * * *", tz="Europe/Berlin")).started.slug
    'tidy'
    """

    name: str
    target: Target
    when: When
    _: KW_ONLY
    overlap: Overlap = "skip"
    catch_up: CatchUp = "one"
    priority: int | None = None
    paused: bool = False
    tags: Tags = ()
    metadata: Metadata = field(default_factory=dict[str, Any], hash=False)
    started: Called = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        what = f"schedule {self.name!r}"
        check_slug(self.name, what, FLOW_RESERVED)
        if not isinstance(self.when, Cron | Every):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{what}: {self.when!r} is no time; write cron('0 3 * * *') or every(300)"
            )
        check_choice("overlap", self.overlap, Overlap, what)
        check_choice("catch_up", self.catch_up, CatchUp, what)
        if self.priority is not None:
            check_priority(self.priority, what)
        object.__setattr__(self, "tags", checked_tags(self.tags, what))
        object.__setattr__(self, "metadata", checked_metadata(self.metadata, what))
        check_bool("paused", self.paused, what)
        object.__setattr__(self, "started", _started(self.target, what))


def every(interval: timedelta | float, *, start: datetime | None = None) -> Every:
    """Slots a fixed time apart (a timedelta, or seconds), counted from `start`, else from the
    beginning of 1970 in UTC: `every(300)` happens at minutes 0, 5, 10, … of the hour.

    >>> from datetime import UTC, datetime
    >>> str(every(300).next(datetime(2026, 1, 1, 12, 3, tzinfo=UTC)))
    '2026-01-01 12:05:00+00:00'
    """
    what = f"every({interval!r})"
    apart = interval if isinstance(interval, timedelta) else _seconds(interval, what)
    if not timedelta(seconds=1) <= apart <= LONGEST:
        raise DefinitionError(f"{what}: the interval must be between a second and a century")
    if start is not None and (not isinstance(start, datetime) or start.tzinfo is None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"{what}: start is {start!r}; it must be a datetime with a time zone")
    return Every(apart, EPOCH if start is None else start.astimezone(UTC))


def when_of(spec: Mapping[str, Any]) -> When:
    """Read what `spec_of` wrote; DefinitionError when this version of the package cannot."""
    match spec:
        case {"cron": str(expression), "tz": str(tz)}:
            return cron(expression, tz)
        case {"every": int() | float() as seconds, "start": str(start)}:
            return every(seconds, start=datetime.fromisoformat(start))
        case _:
            raise DefinitionError(f"{dict(spec)!r} is no time that this version knows; upgrade it")


def spec_of(when: When) -> dict[str, Any]:
    """The wire form of a time."""
    if isinstance(when, Cron):
        return {"cron": when.expression, "tz": when.tz}
    return {"every": when.interval.total_seconds(), "start": when.start.isoformat()}


def by_name(schedules: Iterable[Schedule]) -> Mapping[str, Schedule]:
    """The schedules of one program, each name once."""
    found: dict[str, Schedule] = {}
    for schedule in schedules:
        if not isinstance(schedule, Schedule):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(f"{schedule!r} is no schedule; list what Schedule(...) made")
        if found.setdefault(schedule.name, schedule) is not schedule:
            raise DefinitionError(
                f"two different schedules are called {schedule.name!r}; give one another name"
            )
    return MappingProxyType(found)


def _seconds(interval: object, what: str) -> timedelta:
    if isinstance(interval, bool) or not isinstance(interval, int | float):
        raise DefinitionError(f"{what}: an interval is a timedelta, or a number of seconds")
    try:
        return timedelta(seconds=interval)
    except (OverflowError, ValueError):
        raise DefinitionError(
            f"{what}: the interval must be between a second and a century"
        ) from None


def _started(target: Any, what: str) -> Called:
    """What each firing starts. Its input is written down now, so that a later change of a machine
    changes nothing."""
    try:
        if isinstance(target, Flow | Job):
            return called(cast("Startable", cast("Any", target).call()))
        if isinstance(target, type) and issubclass(target, Machine):
            return called(target())
        if isinstance(target, Startable):
            return called(target)
    except (PayloadError, TypeError) as error:
        raise DefinitionError(
            f"{what}: {target!r} cannot be started like this: {error}; give it its input, as in "
            "flow.call(input), job.call(user_id=7) or Checkout(order=1)"
        ) from error
    raise DefinitionError(
        f"{what}: {target!r} cannot be started; give a machine, or what flow.call(...) or "
        "job.call(...) made"
    )
