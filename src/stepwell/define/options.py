"""The options of definitions and steps, checked before they can reach the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, cast

from stepwell.define.backoff import (
    NO_CAP,
    ByError,
    Growth,
    check_backoff,
    check_jitter,
    no_retry_of,
    spread,
)
from stepwell.define.choices import check_bool
from stepwell.define.duration import Duration, in_days, seconds, whole_seconds
from stepwell.define.limits import ConcurrencyUse, RateUse, concurrency_use, path_of, rate_use
from stepwell.define.payload import storable
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

Backoff = Growth | Callable[[int], Duration]

_LEAST = {
    "max_attempts": 1,
    "base_delay": 0,
    "timeout": 1,
    "start_delay": 0,
    "duration": 0,
    "max_delay": 0,
    "max_crashes": 0,
    "max_running": 1,
    "priority": -(2**15),
}
_MOST = {"priority": 2**15 - 1}
_LARGEST = 2**31 - 1
_COUNTS = {"max_attempts", "max_crashes", "max_running", "priority"}
_LONGEST_NAME = 128
_LONGEST_RETENTION = 36500  # days: a century


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What every step of a definition has unless it says otherwise. Times are whole seconds."""

    max_attempts: int = 3
    base_delay: int = 1
    timeout: int = 60
    max_delay: int | None = None
    jitter: float = 0.0
    max_crashes: int = 3
    queue: str | None = None
    backoff: Backoff = "exponential"
    backoff_by: ByError | None = None
    no_retry: tuple[type[BaseException], ...] = ()
    max_running: int | None = None
    priority: int = 0
    concurrency: ConcurrencyUse | None = None
    rate_limit: RateUse | None = None
    fairness_by: tuple[str, ...] | None = None
    inline: bool = True
    retention: float | None = None  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What one step says for itself; None means as the definition says. Times are whole seconds."""

    max_attempts: int | None = None
    base_delay: int | None = None
    timeout: int | None = None
    start_delay: int | None = None
    max_delay: int | None = None
    jitter: float | None = None
    backoff: Backoff | None = None
    backoff_by: ByError | None = None
    no_retry: tuple[type[BaseException], ...] | None = None
    priority: int | None = None
    concurrency: ConcurrencyUse | None = None
    rate_limit: RateUse | None = None
    inline: bool | None = None
    signal_timeout: float | None = None


def run_options(
    choices: Mapping[str, Any], what: str, usual: Mapping[str, Any] | None = None
) -> RunOptions:
    """The options of a definition out of its arguments, checked; `usual` is what its kind has where
    nothing is said."""
    known = {f.name: f.default for f in fields(RunOptions)} | dict(usual or {})
    said = spread({**(usual or {}), **choices}, known, what)
    if said.get("max_delay") == NO_CAP:  # which only a step has to say
        said["max_delay"] = None
    options = RunOptions(**_plain(said, RunOptions, what))
    check_options(options, what)
    return options


def step_options(choices: Mapping[str, Any], what: str) -> StepOptions:
    """The options of a step out of its arguments, checked."""
    options = StepOptions(**_plain(spread(choices, {}, what), StepOptions, what))
    check_options(options, what)
    return options


def check_options(options: RunOptions | StepOptions, what: str) -> None:
    """Refuse numbers that the database would refuse, or that are no numbers."""
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None and field.default is None:
            continue
        if field.name in _LEAST:
            _check_whole(field.name, value, what)
        elif field.name in _CHECKS:
            _CHECKS[field.name](value, what)


def paths_of(options: RunOptions | StepOptions) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where in the input the options look, each with its name."""
    fairness = options.fairness_by if isinstance(options, RunOptions) else None
    uses = {"concurrency": options.concurrency, "rate_limit": options.rate_limit}
    found = {name: use.path for name, use in uses.items() if use is not None}
    for name, path in {**found, "fairness_by": fairness}.items():
        if path is not None:
            yield name, path


def check_paths(
    options: RunOptions | StepOptions, known: Iterable[str], kind: str, what: str
) -> None:
    """Refuse a path that begins at nothing: it would limit nothing, and nobody would see it."""
    for name, path in paths_of(options):
        check_path(path, known, kind, f"{what}: {name}")


def check_path(path: tuple[str, ...], known: Iterable[str], kind: str, what: str) -> None:
    names = list(known)
    if path[0] not in names:
        raise DefinitionError(
            f"{what} goes by {path[0]!r}, and there is no such {kind}{meant(path[0], names)}; "
            f"there is {', '.join(names) or 'none at all'}"
        )


def whole_duration(value: object, what: str) -> int:
    """How long a step sleeps, in seconds."""
    number = whole_seconds(value)
    _check_whole("duration", number, what)
    return cast("int", number)


def check_priority(value: object, what: str) -> None:
    """Refuse what is no small whole number."""
    _check_whole("priority", value, what)


def _plain(choices: Mapping[str, Any], wanted: type[Any], what: str) -> dict[str, Any]:
    known = wanted.__dataclass_fields__
    plain = {
        name: choices[name] if name == "retention" else whole_seconds(choices[name])
        for name in choices
        if name in known
    }
    for name, convert in _VALUES.items():
        if plain.get(name) is not None:
            plain[name] = convert(plain[name], what)
    return plain


_VALUES: dict[str, Callable[[object, str], object]] = {
    "concurrency": concurrency_use,
    "rate_limit": rate_use,
    "fairness_by": lambda value, what: path_of(value, f"{what}: fairness_by"),
    "retention": lambda value, what: in_days(value),
    "no_retry": no_retry_of,
}


def _check_whole(name: str, value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DefinitionError(
            f"{what}: {name} is {value!r}; it must be a whole number"
            f"{'' if name in _COUNTS else ' of seconds, or a timedelta of whole seconds'}"
        )
    if not _LEAST[name] <= value <= _MOST.get(name, _LARGEST):
        raise DefinitionError(
            f"{what}: {name} is {value}; it must be between {_LEAST[name]} and "
            f"{_MOST.get(name, _LARGEST)}"
        )


def _check_queue(value: object, what: str) -> None:
    if not isinstance(value, str) or not value.strip() or not storable(value):
        raise DefinitionError(f"{what}: queue is {value!r}; it must be a name, or None")
    if len(value) > _LONGEST_NAME:
        raise DefinitionError(
            f"{what}: the name of its queue has {len(value)} characters; "
            f"it must have at most {_LONGEST_NAME}"
        )


def _check_retention(value: object, what: str) -> None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number <= _LONGEST_RETENTION:  # NaN is in no range
        raise DefinitionError(
            f"{what}: retention is {value!r}; it must be a number of days up to "
            f"{_LONGEST_RETENTION}, or a timedelta; 0 keeps runs for ever"
        )


def _check_signal_timeout(value: object, what: str) -> None:
    seconds(value, f"{what}: timeout")


_CHECKS: dict[str, Callable[[object, str], None]] = {
    "jitter": check_jitter,
    "queue": _check_queue,
    "backoff": check_backoff,
    "inline": partial(check_bool, "inline"),
    "signal_timeout": _check_signal_timeout,
    "retention": _check_retention,
}
