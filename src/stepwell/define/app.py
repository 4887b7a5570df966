"""An app is a list of definitions: what `stepwell worker module:app` serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.limited import Limits, limits_of
from stepwell.define.limits import Limit
from stepwell.define.machine import Machine
from stepwell.define.queue_worker import QueueWorker
from stepwell.define.registry import Registry
from stepwell.define.schedule import Schedule, by_name
from stepwell.errors import DefinitionError

AnyQueueWorker = QueueWorker[..., Any]


class Stepwell:
    """The definitions of one program. It holds no connection, and making one opens nothing.

    The limits that definitions use are listed too: `limits=[...]`; so are the workers of message
    queues: `queues=[...]`.

    >>> app = Stepwell(flows=[Flow("orders")], name="shop")
    >>> [flow.slug for flow in app.flows]
    ['orders']
    """

    __slots__ = ("_limits", "_name", "_queues", "_registry", "_schedules")

    def __init__(
        self,
        *,
        flows: Iterable[Flow[Any, Any]] = (),
        machines: Iterable[type[Machine]] = (),
        jobs: Iterable[Job[..., Any, ...]] = (),
        schedules: Iterable[Schedule] = (),
        limits: Iterable[Limit] = (),
        queues: Iterable[AnyQueueWorker] = (),
        name: str | None = None,
    ) -> None:
        self._registry = Registry(flows, machines, jobs)
        self._schedules = by_name(schedules)
        self._limits = limits_of(limits, self._registry)
        self._queues = by_queue(queues)
        self._name = name

    def __repr__(self) -> str:
        served = ", ".join([*self._registry.slugs, *map(repr, self._queues)]) or "no flows"
        return f"<Stepwell {self._name or ''}: {served}>"

    @property
    def name(self) -> str | None:
        return self._name

    @property
    def registry(self) -> Registry:
        """The definitions by slug."""
        return self._registry

    @property
    def flows(self) -> tuple[Flow[Any, Any], ...]:
        return tuple(self._registry.flows.values())

    @property
    def machines(self) -> tuple[type[Machine], ...]:
        """Each version of a machine is a class of its own."""
        return tuple(facts.cls for facts in self._registry.machines.values())

    @property
    def jobs(self) -> tuple[Job[..., Any, ...], ...]:
        return tuple(self._registry.jobs.values())

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return tuple(self._schedules.values())

    @property
    def known_limits(self) -> Limits:
        """The limits by kind and name."""
        return self._limits

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(self._limits.values())

    @property
    def queues(self) -> tuple[AnyQueueWorker, ...]:
        """The queue workers."""
        return tuple(self._queues.values())


def by_queue(workers: Iterable[AnyQueueWorker]) -> dict[str, AnyQueueWorker]:
    """By the name of the queue, which means the same in upper and lower case."""
    found: dict[str, AnyQueueWorker] = {}
    for each in workers:
        if not isinstance(each, QueueWorker):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError(
                f"{each!r} is no queue worker; list functions decorated with @queue_worker"
            )
        other = found.setdefault(each.queue.lower(), each)
        if other is not each:
            raise DefinitionError(
                f"{other!r} and {each!r} would both handle the messages of one queue; keep one"
            )
    return found
