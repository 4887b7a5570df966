"""What somebody wrote down to be run: a flow, a machine or a job."""

from __future__ import annotations

from typing import Any

from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.machine import Machine, machine_of

AnyFlow = Flow[Any, Any]
AnyJob = Job[..., Any, ...]
Definition = AnyFlow | AnyJob | type[Machine]


def slug_of(definition: Definition | str) -> str:
    if isinstance(definition, type):
        return machine_of(definition).slug
    return definition if isinstance(definition, str) else definition.slug
