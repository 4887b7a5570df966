"""Limits: how often something may begin, and how much of it may run at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from stepwell.define.duration import Duration, seconds
from stepwell.define.payload import storable
from stepwell.errors import DefinitionError

Path = str | Sequence[str]
_LONGEST_NAME = 128
_LONGEST_GATE = 512
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `count` beginnings per `per`, and `burst` at once after a quiet time.

    Each partition has a rate of its own.

    >>> openai = RateLimit("openai", 60, per=timedelta(minutes=1), burst=10)
    >>> openai.of("user:7", weight=2).text
    'openai/user:7'
    """

    name: str
    count: int | float
    per: Duration = timedelta(seconds=1)
    burst: int | None = None

    def __post_init__(self) -> None:
        what = f"rate limit {self.name!r}"
        check_limit_name(self.name, what)
        _check_positive(self.count, f"{what}: count")
        seconds(self.per, f"{what}: per", positive=True)
        if self.burst is not None:
            _check_slots(self.burst, f"{what}: burst")

    @property
    def per_second(self) -> float:
        return self.count / seconds(self.per, "per")

    @property
    def capacity(self) -> int:
        """The largest weight that it can ever let through."""
        return max(1, int(self.count)) if self.burst is None else self.burst

    def of(self, partition: object = "", *, weight: float = 1) -> RateUse:
        """One partition of it; what it begins counts `weight` times."""
        return RateUse(self, str(partition), None, weight)

    def by(self, path: Path, *, weight: float = 1) -> RateUse:
        """Partitioned by a value in the input: `"user_id"`, or `"user.id"` for one further in."""
        return RateUse(self, "", path_of(path, f"rate limit {self.name!r}"), weight)


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """At most `slots` at once; each partition has slots of its own.

    >>> reports = ConcurrencyLimit("reports", 5)
    >>> reports.of("acme").gate
    'limit/reports/acme'
    """

    name: str
    slots: int

    def __post_init__(self) -> None:
        what = f"concurrency limit {self.name!r}"
        check_limit_name(self.name, what)
        _check_slots(self.slots, f"{what}: slots")

    def of(self, partition: object = "") -> ConcurrencyUse:
        """One partition of it."""
        return ConcurrencyUse(f"limit/{self.name}/{partition}", None, self)

    def by(self, path: Path) -> ConcurrencyUse:
        """Partitioned by a value in the input: `"tenant"`, or `"user.id"` for one further in."""
        what = f"concurrency limit {self.name!r}"
        return ConcurrencyUse(f"limit/{self.name}/", path_of(path, what), self)


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """At most `slots` tasks of a queue run at once, over all workers."""

    queue: str
    slots: int

    def __post_init__(self) -> None:
        what = f"queue limit {self.queue!r}"
        check_name(self.queue, f"{what}: queue")
        _check_slots(self.slots, f"{what}: slots")


@dataclass(frozen=True, slots=True)
class RateUse:
    """A rate limit as one step or run uses it. `path`: where in the input its partition is."""

    limit: RateLimit
    partition: str = ""
    path: tuple[str, ...] | None = None
    weight: float = 1

    def __post_init__(self) -> None:
        what = f"rate limit {self.limit.name!r}"
        _check_positive(self.weight, f"{what}: weight")
        check_gate(self.text, what)
        if self.weight > self.limit.capacity:
            raise DefinitionError(
                f"{what}: a weight of {self.weight:g} is above its burst of "
                f"{self.limit.capacity}, so it could never begin; lower it, or raise the burst"
            )

    @property
    def text(self) -> str:
        """What the database calls the partition; with a path, the front of that."""
        return f"{self.limit.name}/{self.partition}"

    @property
    def said(self) -> dict[str, object]:
        """As starts and outcomes say it. With a path the database completes it, by the input or the
        state that it has; where nothing is there, there is no limit."""
        by = {} if self.path is None else {"rate_by": self.path}
        return {"rate": self.text, "weight": self.weight, **by}


@dataclass(frozen=True, slots=True)
class ConcurrencyUse:
    """A gate to pass, one slot at a time. `path`: where in the input the rest of its name is."""

    gate: str
    path: tuple[str, ...] | None = None
    limit: ConcurrencyLimit | None = None

    def __post_init__(self) -> None:
        check_gate(self.gate, "concurrency")

    @property
    def said(self) -> dict[str, object]:
        """As starts and outcomes say it, completed by the database like a rate."""
        by = {} if self.path is None else {"concurrency_by": self.path}
        return {"concurrency": self.gate, **by}


Limit = RateLimit | ConcurrencyLimit | QueueLimit
RateLike = RateLimit | RateUse
ConcurrencyLike = str | ConcurrencyLimit | ConcurrencyUse


def key_by(path: Path) -> ConcurrencyUse:
    """One at a time for each value that is found in the input at this path.

    >>> key_by("order_id").path
    ('order_id',)
    """
    return ConcurrencyUse("key/", path_of(path, "key_by"))


def rate_use(value: object, what: str) -> RateUse:
    """What `rate_limit=` takes, as one kind of value."""
    if isinstance(value, RateLimit):
        return value.of()
    if isinstance(value, RateUse):
        return value
    raise DefinitionError(
        f"{what}: rate_limit is {value!r}; pass a RateLimit, or what its .of(...) or .by(...) says"
    )


def concurrency_use(value: object, what: str) -> ConcurrencyUse:
    """What `concurrency=` takes, as one kind of value. Bare text is a key: one at a time."""
    if isinstance(value, str):
        if not value:
            raise DefinitionError(f"{what}: concurrency is an empty text; name a key, or leave it")
        return ConcurrencyUse(f"key/{value}")
    if isinstance(value, ConcurrencyLimit):
        return value.of()
    if isinstance(value, ConcurrencyUse):
        return value
    raise DefinitionError(
        f"{what}: concurrency is {value!r}; pass a key, key_by(...), a ConcurrencyLimit, or what "
        "its .of(...) or .by(...) says"
    )


def path_of(path: object, what: str) -> tuple[str, ...]:
    """Where in a JSON object a value is. Dots lead inwards; a sequence may hold names with dots."""
    names: object = path.split(".") if isinstance(path, str) else path
    if not isinstance(names, list | tuple) or not names:
        raise DefinitionError(f'{what}: {path!r} is no path; write "user_id", or "user.id"')
    parts = list(cast("Sequence[object]", names))
    if not all(isinstance(part, str) and part and storable(part) for part in parts):
        raise DefinitionError(f'{what}: {path!r} is no path; write "user_id", or "user.id"')
    return tuple(cast("list[str]", parts))


def check_name(name: object, what: str) -> str:
    """Refuse a name of a queue or signal that is empty, too long, or that a column cannot hold."""
    if not isinstance(name, str) or not name.strip() or not storable(name):
        raise DefinitionError(f"{what} is {name!r}; it must be a name")
    if len(name) > _LONGEST_NAME:
        raise DefinitionError(
            f"{what} has {len(name)} characters; a name has at most {_LONGEST_NAME}"
        )
    return name


def check_limit_name(name: object, what: str) -> None:
    """Limits are found by the part before the first slash."""
    if "/" in check_name(name, f"{what}: its name"):
        raise DefinitionError(f"{what}: its name has a slash in it; use another character")


def check_gate(text: str, what: str) -> None:
    """Refuse a key or partition that an index cannot hold."""
    if not storable(text) or len(text) > _LONGEST_GATE:
        raise DefinitionError(
            f"{what}: {text[:60]!r} cannot name a partition or key; use at most {_LONGEST_GATE} "
            "characters, without U+0000 and without half characters"
        )


def _check_positive(value: object, what: str) -> None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    if not 0 < number <= _LARGEST:  # NaN is in no range
        raise DefinitionError(f"{what} is {value!r}; it must be a number above 0")


def _check_slots(value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise DefinitionError(f"{what} is {value!r}; it must be a whole number of 1 or more")
