"""The pause before the next attempt: how it grows, and after which errors it is another one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

from stepwell.define.duration import Duration, seconds
from stepwell.errors import DefinitionError

Growth = Literal["fixed", "linear", "exponential"]
ByError = Mapping[type[BaseException], Callable[[int], Any]]
NO_CAP = 10**9  # seconds; what the database counts with when nothing caps a pause
_MOST_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """The whole of a retry policy but for the number of attempts: how the pause grows, what caps it
    (`max_delay`), and which share of it is random (`jitter`). Write `Backoff.fixed(5)`,
    `Backoff.linear(5)` or `Backoff.exponential(1, max_delay=60, jitter=0.2)`.

    >>> [Backoff.exponential(1, max_delay=60).delay(attempt) for attempt in (1, 2, 3, 10)]
    [2.0, 4.0, 8.0, 60.0]
    """

    growth: Growth
    base_delay: Duration
    max_delay: Duration | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        what = f"Backoff.{self.growth}"
        if self.growth not in ("fixed", "linear", "exponential"):
            raise DefinitionError(
                f"Backoff: growth is {self.growth!r}; choose 'fixed', 'linear' or 'exponential'"
            )
        object.__setattr__(self, "base_delay", seconds(self.base_delay, f"{what}: the delay"))
        if self.max_delay is not None:
            longest = seconds(self.max_delay, f"{what}: max_delay", positive=True)
            object.__setattr__(self, "max_delay", longest)
        check_jitter(self.jitter, what)

    @classmethod
    def fixed(cls, delay: Duration, *, jitter: float = 0.0) -> Backoff:
        """The same pause after each attempt."""
        return cls("fixed", delay, None, jitter)

    @classmethod
    def linear(
        cls, base_delay: Duration, *, max_delay: Duration | None = None, jitter: float = 0.0
    ) -> Backoff:
        """`base_delay` times the number of the attempt."""
        return cls("linear", base_delay, max_delay, jitter)

    @classmethod
    def exponential(
        cls, base_delay: Duration, *, max_delay: Duration | None = None, jitter: float = 0.0
    ) -> Backoff:
        """Twice `base_delay` after the first attempt, and twice as much after each other one."""
        return cls("exponential", base_delay, max_delay, jitter)

    def delay(self, attempt: int) -> float:
        """Seconds after that attempt; the first is 1. The database counts in the same way."""
        return self._full(attempt) * (1 - self.jitter * random.random())

    __call__ = delay  # it may stand where a function may

    @property
    def plain(self) -> dict[str, Any]:
        """It as the options that the database reads, parts of a second rounded up."""
        longest = self.base_delay if self.growth == "fixed" else self.max_delay
        return {
            "backoff": self.growth,
            "base_delay": math.ceil(_number(self.base_delay)),
            "max_delay": NO_CAP if longest is None else math.ceil(_number(longest)),
            "jitter": self.jitter,
        }

    @property
    def is_whole(self) -> bool:
        """Whether the database can count it: it does so in whole seconds."""
        times = (self.base_delay, self.max_delay or 0)
        return all(_number(time).is_integer() for time in times)

    def _full(self, attempt: int) -> float:
        base = _number(self.base_delay)
        longest = NO_CAP if self.max_delay is None else _number(self.max_delay)
        match self.growth:
            case "fixed":
                return min(base, NO_CAP)
            case "linear":
                return min(base * attempt, longest)
            case "exponential":
                return min(base * 2.0 ** min(attempt, _MOST_DOUBLINGS), longest)


BackoffLike = (
    Growth
    | Backoff
    | Callable[[int], Duration]
    | Mapping[type[BaseException], Backoff | Callable[[int], Duration]]
)
ErrorClasses = type[BaseException] | tuple[type[BaseException], ...]


def spread(choices: Mapping[str, Any], usual: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The choices of a definition or step, with a backoff that is a value or a mapping as what it
    means. Nothing is said twice: a Backoff has a delay, a cap and a jitter of its own."""
    said = choices.get("backoff")
    if isinstance(said, Mapping):
        rest = {name: value for name, value in choices.items() if name != "backoff"}
        return {**rest, "backoff_by": _by_error(cast("Mapping[object, object]", said), what)}
    if not isinstance(said, Backoff):
        return dict(choices)
    for name in ("base_delay", "max_delay", "jitter"):
        value = choices.get(name)
        if value is not None and value != usual.get(name):
            raise DefinitionError(
                f"{what}: {name} is said beside a Backoff, which has its own; say it there: "
                f"Backoff.{said.growth}(...)"
            )
    return {**choices, **said.plain, **({} if said.is_whole else {"backoff": said})}


def no_retry_of(given: object, what: str) -> tuple[type[BaseException], ...]:
    """Classes of errors; one alone needs no tuple."""
    classes = cast("tuple[object, ...]", given if isinstance(given, tuple) else (given,))
    for cls in classes:
        if not isinstance(cls, type) or not issubclass(cls, BaseException):
            raise DefinitionError(
                f"{what}: no_retry has {cls!r}; list classes of errors that no retry can help"
            )
    return cast("tuple[type[BaseException], ...]", classes)


def check_jitter(value: object, what: str) -> None:
    """Refuse what is no share."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number <= 1:  # NaN is in no range
        raise DefinitionError(
            f"{what}: jitter is {value!r}; it must be a number from 0 to 1 "
            "(the share of the delay that is random)"
        )


def check_backoff(value: object, what: str) -> None:
    """Refuse what says nothing about a pause."""
    if value not in ("fixed", "linear", "exponential") and not callable(value):
        raise DefinitionError(
            f"{what}: backoff is {value!r}; choose one of 'fixed', 'linear', 'exponential', or "
            "give a Backoff, a function from the attempt to a delay, or a mapping from classes of "
            "errors to those"
        )


def _by_error(given: Mapping[object, object], what: str) -> ByError:
    for cls, backoff in given.items():
        if not isinstance(cls, type) or not issubclass(cls, BaseException):
            raise DefinitionError(
                f"{what}: backoff is a mapping, and {cls!r} in it is no class of errors"
            )
        if not callable(backoff):
            raise DefinitionError(
                f"{what}: backoff after {cls.__name__} is {backoff!r}; give a Backoff, for example "
                "Backoff.fixed(60), or a function from the attempt to a delay"
            )
    return cast("ByError", dict(given))


def _number(time: Duration) -> float:
    return time.total_seconds() if isinstance(time, timedelta) else float(time)
