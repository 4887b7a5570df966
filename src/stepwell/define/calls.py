"""What is to be started, as the database wants it: a slug, a version and an input in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from stepwell.define.flow import FlowCall
from stepwell.define.job import JobCall
from stepwell.define.machine import Machine, encode_state, machine_of
from stepwell.define.startable import Startable, check_startable

Kind = Literal["flow", "machine", "job"]


@dataclass(frozen=True, slots=True)
class Called:
    """A run to start. `version` is None for a flow: its versions are shapes, not numbers."""

    kind: Kind
    slug: str
    version: int | None
    input: bytes


def called(startable: Startable) -> Called:
    """What a machine, or a call of a job or a flow, starts; PayloadError when it is not JSON."""
    check_startable(startable, "start")
    if isinstance(startable, JobCall):
        call = cast("JobCall[Any]", startable)
        return Called("job", call.job.slug, call.job.version, call.payload)
    if isinstance(startable, FlowCall):
        flow_call = cast("FlowCall[Any]", startable)
        return Called("flow", flow_call.flow.slug, None, flow_call.payload)
    machine = cast("Machine", startable)
    facts = machine_of(type(machine))
    return Called("machine", facts.slug, facts.version, encode_state(machine))
