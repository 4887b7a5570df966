"""The numbers and choices of flows and steps, checked before they can reach the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, get_args

from stepwell.define.payload import storable
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

IfUnmet = Literal["skip", "fail", "skip-cascade"]
IfExhausted = Literal["fail", "skip", "skip-cascade"]

_LEAST = {
    "max_attempts": 1,
    "base_delay": 0,
    "timeout": 1,
    "start_delay": 0,
    "max_delay": 0,
    "max_crashes": 0,
}
_LARGEST = 2**31 - 1
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """What every step of a flow has unless it says otherwise. Times are whole seconds."""

    max_attempts: int = 3
    base_delay: int = 1
    timeout: int = 60
    max_delay: int | None = None
    jitter: float = 0.0
    max_crashes: int = 3
    queue: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What one step says for itself; None means as the flow says. Times are whole seconds."""

    max_attempts: int | None = None
    base_delay: int | None = None
    timeout: int | None = None
    start_delay: int | None = None
    max_delay: int | None = None
    jitter: float | None = None


class StepChoices(TypedDict, total=False):
    """The keyword arguments of `Flow.step` and `Flow.map`."""

    slug: str | None
    max_attempts: int | None
    base_delay: int | None
    timeout: int | None
    start_delay: int | None
    max_delay: int | None
    jitter: float | None
    when: Mapping[str, Any] | None
    unless: Mapping[str, Any] | None
    if_unmet: IfUnmet
    if_exhausted: IfExhausted


def check_known(choices: Mapping[str, object], what: str) -> None:
    """Refuse an argument that no step has: a typo never becomes a default."""
    known = StepChoices.__annotations__
    for name in choices:
        if name not in known:
            raise DefinitionError(
                f"{what}: there is no option {name!r}{meant(name, known)}; "
                f"the options are {', '.join(known)}"
            )


def check_options(options: FlowOptions | StepOptions, what: str) -> None:
    """Refuse numbers that the database would refuse, or that are no numbers."""
    for field in fields(options):
        value = getattr(options, field.name)
        if value is None and field.default is None:
            continue
        if field.name == "queue":
            _check_queue(value, what)
        elif field.name == "jitter":
            _check_jitter(value, what)
        else:
            _check_whole(field.name, value, what)


def check_choice(name: str, value: object, choices: Any, what: str) -> None:
    """Refuse a word that is none of the choices."""
    if value not in get_args(choices):
        words = ", ".join(repr(word) for word in get_args(choices))
        raise DefinitionError(f"{what}: {name} is {value!r}; choose one of {words}")


def _check_whole(name: str, value: object, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise DefinitionError(
            f"{what}: {name} is {value!r}; it must be a whole number (an int"
            f"{'' if name in ('max_attempts', 'max_crashes') else ' of seconds'})"
        )
    if not _LEAST[name] <= value <= _LARGEST:
        raise DefinitionError(
            f"{what}: {name} is {value}; it must be between {_LEAST[name]} and {_LARGEST}"
        )


def _check_jitter(value: object, what: str) -> None:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else -1
    if not 0 <= number <= 1:  # NaN is in no range
        raise DefinitionError(
            f"{what}: jitter is {value!r}; it must be a number from 0 to 1 "
            "(the share of the delay that is random)"
        )


def _check_queue(value: object, what: str) -> None:
    if not isinstance(value, str) or not value.strip() or not storable(value):
        raise DefinitionError(f"{what}: queue is {value!r}; it must be a name, or None")
    if len(value) > _LONGEST_NAME:
        raise DefinitionError(
            f"{what}: the name of its queue has {len(value)} characters; "
            f"it must have at most {_LONGEST_NAME}"
        )
