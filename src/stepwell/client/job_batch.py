"""What is to be enqueued, and when, out of the ways to say it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict, cast

from stepwell.client.batch import Batch, batch_of_one
from stepwell.define.duration import Duration, seconds
from stepwell.define.job import Job, JobCall
from stepwell.define.startable import Startable, check_startable
from stepwell.errors import DefinitionError, InvalidArgument, PayloadError

Arguments = Mapping[str, Any]


class Times(TypedDict, total=False):
    """When a job may begin; `scheduled_at` goes before `delay_seconds`."""

    delay_seconds: Duration | None
    scheduled_at: datetime | None


def batch_of_job(job: object, arguments: object, choices: Mapping[str, Any]) -> Batch:
    """A call of a job, a job with its arguments, or the name of one that is deployed."""
    when = when_of(choices)
    rest = {name: value for name, value in choices.items() if name not in Times.__annotations__}
    if isinstance(job, str):
        return batch_of_one(job, {} if arguments is None else arguments, rest | when)
    if isinstance(job, Job):
        job = cast("Job[..., Any]", job).call(**arguments_of(job.slug, arguments))
        arguments = None
    check_startable(job, "enqueue")
    return batch_of_one(cast("Startable", job), arguments, rest | when)


def arguments_of(slug: str, arguments: object) -> dict[str, Any]:
    if arguments is None:
        return {}
    if not isinstance(arguments, Mapping):
        raise PayloadError(
            f"job {slug!r}: its arguments are {arguments!r}; give them by name, in a dict"
        )
    return {str(name): value for name, value in cast("Arguments", arguments).items()}


def when_of(choices: Mapping[str, Any]) -> dict[str, Any]:
    """`delay` or `at`, in the words that every start takes."""
    delay, at = choices.get("delay_seconds"), choices.get("scheduled_at")
    if at is not None:
        return {"at": moment(at), "delay": None}
    return {} if delay is None else {"delay": delay_of(delay)}


def delay_of(delay: object) -> float:
    try:
        return seconds(delay, "delay_seconds")
    except DefinitionError as error:
        raise InvalidArgument("invalid_delay_seconds", str(error), value=delay) from error


def moment(at: object) -> datetime:
    """A time that is over means now."""
    if not isinstance(at, datetime):
        raise InvalidArgument(
            "invalid_scheduled_at", f"scheduled_at is {at!r}; it must be a datetime", value=at
        )
    if at.utcoffset() is None:
        raise InvalidArgument(
            "invalid_scheduled_at",
            f"scheduled_at is {at!r}, which has no time zone; write datetime(..., tzinfo=UTC)",
            value=at,
        )
    return at


def later(job: object, given: tuple[Any, ...], named: dict[str, Any], name: str) -> tuple[Any, Any]:
    """The arguments and the time of `enqueue_in` and `enqueue_at`: a call has its arguments."""
    values = list(given)
    has_call = isinstance(job, JobCall)
    arguments = None if has_call else values.pop(0) if values else named.pop("arguments", None)
    if values and name not in named:
        named[name] = values.pop(0)
    if values or name not in named:
        expected = f"(call, {name})" if has_call else f"(job, arguments, {name})"
        raise TypeError(f"enqueue_{'in' if name == 'delay_seconds' else 'at'} takes {expected}")
    return arguments, named.pop(name)
