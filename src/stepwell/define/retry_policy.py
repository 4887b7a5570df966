"""How often, and how long after, a message is handled again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from stepwell.define.duration import WholeDuration, whole_seconds
from stepwell.errors import DefinitionError

Strategy = Literal["exponential", "fixed"]

_LARGEST = 2**31 - 1
_MOST_DOUBLINGS = 50
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Up to `limit` retries after the first try. The pauses are `base_delay` each, or they double
    from there up to `max_delay` (300 when nothing is said). Times are whole seconds.

    >>> [RetryPolicy("exponential", base_delay=3, max_delay=20).delay(n) for n in (1, 2, 3, 4)]
    [3, 6, 12, 20]
    """

    strategy: Strategy = "exponential"
    limit: int = 5
    base_delay: WholeDuration = 3
    max_delay: WholeDuration | None = None

    def __post_init__(self) -> None:
        for name in ("base_delay", "max_delay"):
            object.__setattr__(self, name, whole_seconds(getattr(self, name)))
        if self.strategy not in get_args(Strategy):
            raise DefinitionError(
                f"RetryPolicy: strategy is {self.strategy!r}; choose 'exponential' or 'fixed'"
            )
        doubles = self.strategy == "exponential"
        _check("limit", self.limit, 0, _MOST_DOUBLINGS if doubles else _LARGEST)
        _check("base_delay", self.base_delay, 1 if self.limit else 0, _LARGEST)
        if self.max_delay is None:
            return
        if not doubles:
            raise DefinitionError(
                "RetryPolicy: a fixed delay does not grow, so max_delay means nothing; remove it"
            )
        _check("max_delay", self.max_delay, _number(self.base_delay), _LARGEST)

    @property
    def tries(self) -> int:
        """How often a message is tried at most, the first time included."""
        return self.limit + 1

    def delay(self, attempt: int) -> int:
        """The pause after that attempt, in seconds; the first is 1."""
        base = _number(self.base_delay)
        if self.strategy == "fixed":
            return base
        longest = max(_LONGEST, base) if self.max_delay is None else _number(self.max_delay)
        return min(base * 2 ** min(max(attempt - 1, 0), _MOST_DOUBLINGS), longest)


def _number(seconds: object) -> int:
    assert isinstance(seconds, int)
    return seconds


def _check(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        unit = "" if name == "limit" else " of seconds, or a timedelta of whole seconds"
        raise DefinitionError(f"RetryPolicy: {name} is {value!r}; it must be a whole number{unit}")
    if not least <= value <= most:
        raise DefinitionError(
            f"RetryPolicy: {name} is {value}; it must be between {least} and {most}"
        )
