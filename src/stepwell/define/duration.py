"""Times as people write them: numbers of seconds, or timedeltas."""

from __future__ import annotations

import math
from datetime import timedelta

from stepwell.errors import DefinitionError

Duration = int | float | timedelta
WholeDuration = int | timedelta  # where the database counts in seconds
Days = int | float | timedelta  # where people count in days
_LARGEST = 2**31 - 1


def seconds(value: object, what: str, *, positive: bool = False) -> float:
    """The number of seconds; `what` begins the message when it is none."""
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or math.isnan(number):
        raise DefinitionError(f"{what} is {value!r}; it must be seconds or a timedelta")
    if not 0 <= number <= _LARGEST or (positive and not number):
        least = "more than 0" if positive else "0 or more"
        raise DefinitionError(f"{what} is {value!r}; it must be {least}, and at most {_LARGEST} s")
    return float(number)


def whole_seconds(value: object) -> object:
    """A timedelta of whole seconds as a number; everything else as it is, for the checks."""
    if isinstance(value, timedelta) and not value.microseconds:
        return value.days * 86400 + value.seconds
    return value


def in_days(value: object) -> object:
    """A timedelta as a number of days; everything else as it is, for the checks."""
    return value / timedelta(days=1) if isinstance(value, timedelta) else value
