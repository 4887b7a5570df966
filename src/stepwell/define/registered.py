"""What a registry knows of one definition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.machine import Machine, machine_of
from stepwell.define.options import RunOptions
from stepwell.define.slug import JOB_STEP
from stepwell.errors import InvalidDefinition

REMEDIES = {
    "flow": "is no flow; list what Flow(...) made",
    "machine": "is no machine; list subclasses of Machine",
    "job": "is no job; list functions decorated with @job",
    None: "is no flow, machine or job",
}


@dataclass(frozen=True, slots=True)
class Registered:
    """A definition and its facts. `version` is the number of a machine or job; of a flow it is 0,
    for its versions are shapes that only the database numbers. Times are seconds."""

    slug: str
    kind: Literal["flow", "machine", "job"]
    version: int
    definition: Any
    options: RunOptions
    steps: tuple[str, ...]

    @property
    def max_attempts(self) -> int:
        return self.options.max_attempts

    @property
    def base_delay(self) -> int:
        return self.options.base_delay

    @property
    def timeout(self) -> int:
        return self.options.timeout


def entry_of(definition: object, kind: str | None = None) -> Registered:
    """InvalidDefinition (`invalid_flow_module`) for what is no definition, or none of that kind."""
    match definition:
        case Flow() if kind in (None, "flow"):
            flow = cast("Flow[Any, Any]", definition)
            return Registered(flow.slug, "flow", 0, flow, flow.options, tuple(flow.steps))
        case Job() if kind in (None, "job"):
            job = cast("Job[..., Any]", definition)
            return Registered(job.slug, "job", job.version, job, job.options, (JOB_STEP,))
        case type() if kind in (None, "machine") and _is_machine(definition):
            return _machine(cast("type[Machine]", definition))
        case _:
            raise InvalidDefinition(
                "invalid_flow_module", f"{definition!r} {REMEDIES[kind]}", value=definition
            )


def _is_machine(definition: object) -> bool:
    return (
        isinstance(definition, type)
        and issubclass(definition, Machine)
        and (definition is not Machine)
    )


def _machine(cls: type[Machine]) -> Registered:
    facts = machine_of(cls)
    if not facts.initial:
        raise InvalidDefinition(
            "invalid_flow_module",
            f"machine {cls.__name__} is abstract; list the classes made of it",
            value=cls,
        )
    steps = tuple(facts.steps)
    return Registered(facts.slug, "machine", facts.version, cls, facts.options, steps)
