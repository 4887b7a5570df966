"""Cron expressions: the next time after a time, found field by field and never minute by minute.

A slot is a time on the clock of a zone. One that the clock skips happens at the first instant after
the gap; one that the clock shows twice happens the first time only.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from stepwell.errors import DefinitionError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
SECOND = timedelta(seconds=1)
LAST_YEAR = 9998  # the last that has a year after it, for the clocks of every zone

_PART = re.compile(
    r"(?:(?P<all>\*)|(?P<first>\w{1,9})(?:-(?P<last>\w{1,9}))?)(?:/(?P<step>[0-9]{1,4}))?"
)


@dataclass(frozen=True, slots=True)
class Field:
    """What one place of an expression is called, and the values it can have."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


FIELDS = (
    Field("second", 0, 59),
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, MONTHS),
    Field("day of week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """A checked expression in a time zone. Make one with `cron(...)`."""

    expression: str
    tz: str = "UTC"
    _fields: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    _either_day: bool = field(init=False, repr=False, compare=False)
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        what = f"cron {self.expression!r}"
        texts = _split(self.expression, what)
        fields = tuple(
            _values(text, place, f"{what}, {place.name} {text!r}")
            for text, place in zip(texts, FIELDS, strict=True)
        )
        either = not texts[3].startswith("*") and not texts[5].startswith("*")
        _check_possible(fields[3], fields[4], either, what)
        object.__setattr__(self, "_fields", fields)
        object.__setattr__(self, "_either_day", either)
        object.__setattr__(self, "_zone", _zone(self.tz, what))

    def __str__(self) -> str:
        return f"{self.expression} {self.tz}"

    def next(self, after: datetime) -> datetime:
        """The first slot later than `after`, in UTC."""
        check_zone(after, "next")
        after = after.astimezone(UTC)
        wall = after.astimezone(self._zone).replace(tzinfo=None, microsecond=0)
        for slot in self._walls_after(wall):
            instant = _instant(slot, self._zone)
            if instant > after:  # else the clock showed it before and shows it again
                return instant
        raise OverflowError(f"cron {self.expression!r} has no slot after {after}")

    def _walls_after(self, wall: datetime) -> Iterator[datetime]:
        """Every time that fits, later than one, by a clock that never jumps."""
        first = wall + SECOND
        seconds, minutes, hours = self._fields[:3]
        for day in self._days_from(first):
            start = first if day.date() == first.date() else day
            for hour in hours:
                if hour < start.hour:
                    continue
                for minute in minutes:
                    if (hour, minute) < (start.hour, start.minute):
                        continue
                    for second in seconds:
                        at = day.replace(hour=hour, minute=minute, second=second)
                        if at >= start:
                            yield at

    def _days_from(self, first: datetime) -> Iterator[datetime]:
        days, months, weekdays = self._fields[3:]
        for year in range(first.year, LAST_YEAR + 1):
            for month in months:
                if (year, month) < (first.year, first.month):
                    continue
                weekday, length = monthrange(year, month)
                for day in range(1, length + 1):
                    if (year, month, day) < (first.year, first.month, first.day):
                        continue
                    fits = (day in days, (weekday + day) % 7 in weekdays)  # monthrange: Monday is 0
                    if any(fits) if self._either_day else all(fits):
                        yield datetime(year, month, day)


def cron(expression: str, tz: str = "UTC") -> Cron:
    """Slots by a cron expression of five fields, or six with the seconds first, or a macro such as
    `@daily`, on the clock of a time zone.

    When both days are restricted, either is enough; a day field that begins with `*` is not
    restricted.

    >>> from datetime import UTC, datetime
    >>> str(cron("0 3 * * MON-FRI", tz="Europe/Berlin").next(datetime(2026, 1, 3, tzinfo=UTC)))
    '2026-01-05 02:00:00+00:00'
    """
    return Cron(expression, tz)


def check_zone(moment: datetime, what: str) -> None:
    """Refuse a time of which nobody knows where it is."""
    if moment.utcoffset() is None:
        raise DefinitionError(
            f"{what}: {moment!r} has no time zone; write datetime(..., tzinfo=UTC) or another"
        )


def _split(expression: object, what: str) -> list[str]:
    if not isinstance(expression, str):
        raise DefinitionError(f"{what}: an expression is text, for example '0 3 * * *'")
    said = expression.strip().lower()
    if said.startswith("@"):
        if said not in MACROS:
            raise DefinitionError(f"{what}: there is no such macro; use {', '.join(MACROS)}")
        said = MACROS[said]
    texts = said.split()
    if len(texts) not in (5, 6):
        raise DefinitionError(
            f"{what}: it has {len(texts)} fields; write five (minute, hour, day of month, month, "
            "day of week), or six with the second first"
        )
    return texts if len(texts) == 6 else ["0", *texts]


def _values(text: str, place: Field, what: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        parsed = _PART.fullmatch(part)
        if not parsed:
            raise DefinitionError(
                f"{what}: {part!r} is not understood; write *, a value, a range such as 1-5, "
                "either with a step such as */2, or a list of those"
            )
        found.update(_span(parsed, place, what))
    return tuple(sorted({0 if place.words is WEEKDAYS and v == 7 else v for v in found}))


def _span(parsed: re.Match[str], place: Field, what: str) -> range:
    """The values of one part. `5/15` begins at 5 and goes on to the end."""
    size = len(range(place.least, place.most + 1)) - (place.words is WEEKDAYS)
    step = int(parsed["step"] or 1)
    if not 1 <= step <= size:
        raise DefinitionError(f"{what}: a step is between 1 and {size}, and this one is {step}")
    if parsed["all"]:
        return range(place.least, place.least + size, step)
    first = _value(parsed["first"], place, what)
    last = first if not parsed["step"] else place.least + size - 1
    if parsed["last"]:
        last = _value(parsed["last"], place, what)
        if place.words is WEEKDAYS and last == 0 < first:
            last = 7  # FRI-SUN
    if last < first:
        raise DefinitionError(
            f"{what}: the range runs backwards; write two, {first}-{place.most} and "
            f"{place.least}-{last}, with a comma between"
        )
    return range(first, last + 1, step)


def _value(word: str, place: Field, what: str) -> int:
    if word in place.words:
        return place.words.index(word) + place.least
    if not word.isascii() or not word.isdigit():
        names = f", or {' '.join(place.words).upper()}" if place.words else ""
        raise DefinitionError(
            f"{what}: {word!r} is no {place.name}; it is {place.least} to {place.most}{names}"
        )
    if not place.least <= int(word) <= place.most:
        raise DefinitionError(
            f"{what}: {word} is out of range; it is {place.least} to {place.most}"
        )
    return int(word)


def _check_possible(
    days: tuple[int, ...], months: tuple[int, ...], either: bool, what: str
) -> None:
    if not either and all(days[0] > LONGEST_MONTHS[month - 1] for month in months):
        raise DefinitionError(
            f"{what}: it never happens, because none of its months has a day {days[0]}; "
            "correct the day or the month"
        )


def _zone(name: object, what: str) -> tzinfo:
    try:
        if isinstance(name, str):
            return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise DefinitionError(
        f"{what}: there is no time zone {name!r} on this system; write one like 'Europe/Berlin', "
        "and install the package tzdata where no zone is known"
    )


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    """When the clock of the zone first shows that time; if it never does, the end of the gap."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    before, after = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant
    offset = after.astimezone(zone).utcoffset()
    while after - before > SECOND:  # the clock jumps after `before`, and not later than `after`
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
