"""The keyword arguments of decorators: which there are, and what is refused before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, get_args

from stepwell.define.backoff import BackoffLike, ErrorClasses
from stepwell.define.duration import Days, WholeDuration
from stepwell.define.limits import ConcurrencyLike, Path, RateLike
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

IfUnmet = Literal["skip", "fail", "skip-cascade"]
IfExhausted = Literal["fail", "skip", "skip-cascade"]


class Retries(TypedDict, total=False):
    """The keyword arguments that every kind of step takes."""

    max_attempts: int | None
    base_delay: WholeDuration | None
    timeout: WholeDuration | None
    max_delay: WholeDuration | None
    jitter: float | None
    backoff: BackoffLike | None
    no_retry: ErrorClasses | None
    priority: int | None
    concurrency: ConcurrencyLike | None
    rate_limit: RateLike | None


class StepChoices(Retries, total=False):
    """The keyword arguments of `Flow.step` and `Flow.map`."""

    slug: str | None
    start_delay: WholeDuration | None
    when: Mapping[str, Any] | None
    unless: Mapping[str, Any] | None
    if_unmet: IfUnmet
    if_exhausted: IfExhausted
    transactional: bool
    process: bool


class MachineStepChoices(Retries, total=False):
    """The keyword arguments of `@step`. `reachable`: other code than the class's own names it."""

    initial: bool
    inline: bool | None
    reachable: bool
    transactional: bool
    process: bool


class RunChoices(TypedDict, total=False):
    """The keyword arguments that flows, machines and jobs share."""

    queue: str | None
    max_attempts: int
    base_delay: WholeDuration
    timeout: WholeDuration
    max_delay: WholeDuration | None
    jitter: float
    max_crashes: int
    backoff: BackoffLike
    no_retry: ErrorClasses
    max_running: int | None
    priority: int
    concurrency: ConcurrencyLike | None
    rate_limit: RateLike | None
    fairness_by: Path | None
    retention: Days | None


def check_known(choices: Mapping[str, object], known: type[Any], what: str) -> None:
    """Refuse an argument that the TypedDict does not have: a typo never becomes a default."""
    names = list(known.__annotations__)
    for name in choices:
        if name not in names:
            raise DefinitionError(
                f"{what}: there is no option {name!r}{meant(name, names)}; "
                f"the options are {', '.join(names)}"
            )


def check_choice(name: str, value: object, choices: Any, what: str) -> None:
    """Refuse a word that is none of the choices."""
    if value not in get_args(choices):
        words = ", ".join(repr(word) for word in get_args(choices))
        raise DefinitionError(f"{what}: {name} is {value!r}; choose one of {words}")


def check_bool(name: str, value: object, what: str) -> None:
    if not isinstance(value, bool):
        raise DefinitionError(f"{what}: {name} is {value!r}; it must be True or False")


def transactional_of(choices: Mapping[str, Any], what: str, *, has_context: bool = True) -> bool:
    """Whether a handler's writes commit with its outcome. It reaches them through its context."""
    said = choices.get("transactional", False)
    check_bool("transactional", said, what)
    if said and not has_context:
        raise DefinitionError(
            f"{what}: it is transactional, but takes no context, which has the connection; add a "
            "parameter ctx, and write through ctx.connection (in a sync handler "
            "ctx.sync_connection)"
        )
    return said


def process_of(choices: Mapping[str, Any], what: str) -> bool:
    """Whether a body runs in a child process. A transaction lives in its worker."""
    said = choices.get("process", False)
    check_bool("process", said, what)
    if said and choices.get("transactional"):
        raise DefinitionError(
            f"{what}: it cannot be transactional and run in a process of its own; compute in one "
            "step, and write in another"
        )
    return said
