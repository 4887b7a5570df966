"""The limits of an app: those that it lists, and those that its definitions use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from stepwell.define.limits import ConcurrencyLimit, Limit, QueueLimit, RateLimit
from stepwell.define.options import RunOptions, StepOptions
from stepwell.define.registry import Registry
from stepwell.define.slug import meant
from stepwell.errors import DefinitionError

Limits = Mapping[tuple[str, str], Limit]


def limits_of(listed: Iterable[Limit], registry: Registry) -> Limits:
    """By kind and name. Each that a definition uses must be listed as it is used."""
    found: dict[tuple[str, str], Limit] = {}
    for limit in listed:
        key = _key(limit)
        if found.setdefault(key, limit) != limit:
            raise DefinitionError(
                f"two different {key[0]} limits are called {key[1]!r}; list one of them"
            )
    for what, limit in _used(registry):
        check_listed(limit, found, what)
    return MappingProxyType(found)


def _key(limit: object) -> tuple[str, str]:
    match limit:
        case RateLimit():
            return "rate", limit.name
        case ConcurrencyLimit():
            return "concurrency", limit.name
        case QueueLimit():
            return "queue", limit.queue
        case _:
            raise DefinitionError(
                f"{limit!r} is no limit; list a RateLimit, a ConcurrencyLimit or a QueueLimit"
            )


def check_listed(limit: Limit, listed: Limits, what: str) -> None:
    kind, name = _key(limit)
    if (kind, name) not in listed:
        known = [other for k, other in listed if k == kind]
        raise DefinitionError(
            f"{what}: it uses the {kind} limit {name!r}, which the app does not have"
            f"{meant(name, known)}; list it: Stepwell(limits=[...])"
        )
    if listed[kind, name] != limit:
        raise DefinitionError(
            f"{what}: it uses a {kind} limit {name!r} that differs from the one that the app "
            "lists; use one and the same"
        )


def _used(registry: Registry) -> Iterator[tuple[str, Limit]]:
    for what, options in _options(registry):
        if options.rate_limit is not None:
            yield what, options.rate_limit.limit
        if options.concurrency is not None and options.concurrency.limit is not None:
            yield what, options.concurrency.limit


def _options(registry: Registry) -> Iterator[tuple[str, RunOptions | StepOptions]]:
    """All options of all definitions, each with whose they are."""
    for flow in registry.flows.values():
        yield f"flow {flow.slug!r}", flow.options
        yield from _of_steps(f"flow {flow.slug!r}", flow.steps)
    for machine in registry.machines.values():
        what = f"machine {machine.cls.__name__}"
        yield what, machine.options
        yield from _of_steps(what, machine.steps)
    for job in registry.jobs.values():
        yield f"job {job.slug!r}", job.options


def _of_steps(what: str, steps: Mapping[str, Any]) -> Iterator[tuple[str, StepOptions]]:
    for slug, step in steps.items():
        yield f"{what}, step {slug!r}", step.options
