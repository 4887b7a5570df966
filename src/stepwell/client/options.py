"""How a run is to run: what every start can be told, checked and written for the database."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, get_args
from uuid import UUID

from stepwell.define.duration import Duration, seconds
from stepwell.define.labels import Metadata, Tags, checked_metadata, checked_tags
from stepwell.define.limits import ConcurrencyLike, RateLike, check_name, concurrency_use, rate_use
from stepwell.define.payload import encode
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError, PayloadError

Unique = Literal["live", "kept"]


class Choices(TypedDict, total=False):
    """The keyword arguments of every start. None means as the definition says.

    `unique` is how long the key stays taken: while the run is live, as long as it is kept, or for
    a time from its start. `tags` are to find runs by, `metadata` is read beside them.
    """

    priority: int | None
    queue: str | None
    delay: Duration | None
    at: datetime | None
    concurrency: ConcurrencyLike | None
    rate_limit: RateLike | None
    fairness_key: str | None
    fairness_weight: float | None
    unique: Unique | timedelta
    check_input: bool
    tags: Tags | None
    metadata: Metadata | None


class StartChoices(Choices, total=False):
    """What is said of one run only."""

    key: str | None
    run_id: UUID | None


def options_of(choices: Mapping[str, Any]) -> str | None:
    """The choices, checked, as the JSON that start.sql takes; None when there is nothing to say."""
    given = {name: value for name, value in choices.items() if value is not None}
    if "delay" in given and "at" in given:
        raise PayloadError("both delay and at say when to begin; give one of them")
    said: dict[str, object] = {}
    try:
        for name in given.keys() & _WRITE.keys():
            said |= _WRITE[name](given[name])
    except DefinitionError as error:  # the same checks as where it is part of a definition
        raise PayloadError(str(error)) from error
    return encode(said).decode() if said else None


def with_trace(trace: str, options: Sequence[str] | None, inputs: Sequence[str]) -> list[str]:
    """The options of as many runs, with the trace that they are part of; it is JSON already."""
    if options is None:
        return [f'{{"trace":{trace}}}'] * len(inputs)
    return [f'{{"trace":{trace},{written[1:]}' for written in options]


def check_flow(slug: str, choices: Mapping[str, object]) -> None:
    """Tasks of a flow are many: where they run, and within which limits, their steps say."""
    for name in ("queue", "concurrency", "rate_limit"):
        if choices.get(name) is not None:
            raise PayloadError(
                f"{name} is for machines and jobs; flow {slug!r} has it in its definition, "
                "for all of it or for one step"
            )


def check_known(choices: Mapping[str, object], kind: type[Choices]) -> None:
    """Refuse an argument that no start has: a typo never becomes a default."""
    known = kind.__annotations__
    for name in choices:
        if name not in known:
            raise TypeError(f"a start has no argument {name!r}{meant(name, known)}")


def checked_priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -32768 <= value <= 32767:
        raise PayloadError(
            f"priority is {value!r}; it must be a whole number from -32768 (first) to 32767"
        )
    return value


def _priority(value: object) -> dict[str, object]:
    return {"priority": checked_priority(value)}


def _queue(value: object) -> dict[str, object]:
    return {"queue": check_name(value, "queue")}


def _delay(value: object) -> dict[str, object]:
    return {"delay": seconds(value, "delay")}


def _at(value: object) -> dict[str, object]:
    if not isinstance(value, datetime):
        raise PayloadError(f"at is {value!r}; it must be a datetime")
    if value.utcoffset() is None:
        raise PayloadError(
            f"at is {value!r}, which has no time zone; write datetime(..., tzinfo=UTC) or another"
        )
    return {"at": value.isoformat()}


def _concurrency(value: object) -> dict[str, object]:
    return concurrency_use(value, "start").said


def _rate_limit(value: object) -> dict[str, object]:
    return rate_use(value, "start").said


def _fairness_key(value: object) -> dict[str, object]:
    return {"fairness": check_name(value, "fairness_key")}


def _fairness_weight(value: object) -> dict[str, object]:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else 0
    if not 0 < number < math.inf:  # NaN is in no range
        raise PayloadError(f"fairness_weight is {value!r}; it must be a number above 0")
    return {"fairness_weight": number}


def _unique(value: object) -> dict[str, object]:
    if isinstance(value, timedelta):
        return {"unique_for": seconds(value, "unique", positive=True)}
    if value not in get_args(Unique):
        raise PayloadError(
            f"unique is {value!r}; it must be 'live' (while the run is live), 'kept' (as long as "
            "the run is kept) or a timedelta from its start"
        )
    return {"key_until": "infinity"} if value == "kept" else {}


def _check_input(value: object) -> dict[str, object]:
    return {"check_input": True} if value else {}


def _tags(value: object) -> dict[str, object]:
    return {"tags": checked_tags(value, "start")}


def _metadata(value: object) -> dict[str, object]:
    return {"metadata": checked_metadata(value, "start")}


_WRITE: Mapping[str, Callable[[object], dict[str, object]]] = {
    "priority": _priority,
    "queue": _queue,
    "delay": _delay,
    "at": _at,
    "concurrency": _concurrency,
    "rate_limit": _rate_limit,
    "fairness_key": _fairness_key,
    "fairness_weight": _fairness_weight,
    "unique": _unique,
    "check_input": _check_input,
    "tags": _tags,
    "metadata": _metadata,
}
