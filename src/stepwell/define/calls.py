"""What is to be started, as the database wants it: a slug, a version and an input in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepwell.define.flow import FlowCall
from stepwell.define.job import JobCall
from stepwell.define.machine import Machine, encode_state, machine_of
from stepwell.define.outcome import check_startable
from stepwell.define.startable import Startable

Kind = Literal["flow", "machine", "job"]


@dataclass(frozen=True, slots=True)
class Called:
    """A run to start. `version` is None for a flow: its versions are shapes, not numbers."""

    kind: Kind
    slug: str
    version: int | None
    input: bytes
    what: Startable


def called(startable: Startable) -> Called:
    """What a machine, or a call of a job or a flow, starts; PayloadError when it is not JSON."""
    check_startable(startable, "start")
    match startable:
        case JobCall():
            job = startable.job
            return Called("job", job.slug, job.version, startable.payload, startable)
        case FlowCall():
            return Called("flow", startable.flow.slug, None, startable.payload, startable)
        case Machine():
            facts = machine_of(type(startable))
            return Called("machine", facts.slug, facts.version, encode_state(startable), startable)
        case _:
            raise TypeError(f"{startable!r} is of an unknown kind")
