"""Flows made from data, put into the database while programs run: for both clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from stepwell.client.wakes import Wake
from stepwell.compile.diff import changed, differences
from stepwell.compile.from_data import checked_slug, shape_from_data
from stepwell.compile.shape import Shape
from stepwell.db.call import Call
from stepwell.db.upsert import Exists, delete_flow, flow_exists, upsert_flow
from stepwell.db.upsert import Upserted as Row
from stepwell.define.definition import Definition, slug_of
from stepwell.define.duration import Days, WholeDuration
from stepwell.define.flow import Flow
from stepwell.define.job import Job
from stepwell.define.machine import Machine
from stepwell.observe.emit import emit
from stepwell.observe.events import FlowDeleted, FlowEnsured

NEWS = Wake("", is_queue=True)  # whoever listens looks for versions that it could serve


class StepData(TypedDict, total=False):
    """A step of a flow that is made from data. `slug` must be there; what is missing, or None, is
    as the flow says."""

    slug: str
    deps: Sequence[str]
    step_type: Literal["single", "map", "signal", "sleep"]
    max_attempts: int | None
    base_delay: WholeDuration | None
    timeout: WholeDuration | None
    start_delay: WholeDuration | None
    max_delay: WholeDuration | None
    jitter: float | None
    backoff: Literal["fixed", "linear", "exponential"] | None
    priority: int | None
    when: Mapping[str, Any] | None
    unless: Mapping[str, Any] | None
    if_unmet: Literal["skip", "fail", "skip-cascade"]
    if_exhausted: Literal["fail", "skip", "skip-cascade"]
    signal: str
    duration: WholeDuration


class FlowData(TypedDict, total=False):
    """What a flow that is made from data says for all its steps."""

    max_attempts: int
    base_delay: WholeDuration
    timeout: WholeDuration
    max_delay: WholeDuration | None
    jitter: float
    backoff: Literal["fixed", "linear", "exponential"]
    max_crashes: int
    queue: str | None
    max_running: int | None
    priority: int
    retention: Days | None
    archive: bool


@dataclass(frozen=True, slots=True)
class UpsertedFlow:
    """What became of a flow. `compiled`: it is new; `verified`: it was just so; `recompiled`: it
    was another one, and `differences` says where."""

    status: Literal["compiled", "recompiled", "verified"]
    differences: list[str]
    version: int


def upserting(
    slug: str, steps: object, options: Mapping[str, Any], *, replace: bool, actor: str | None
) -> tuple[Shape, Call[Row]]:
    """The shape of the data, checked, and the call that puts it in."""
    shape = shape_from_data(slug, steps, options)
    return shape, upsert_flow(shape.to_json(), replace, actor)


def upserted(shape: Shape, row: Row, *, replace: bool) -> UpsertedFlow:
    """What the database did, with what differs from the version that was current before."""
    emit(FlowEnsured(shape.slug, row.status, row.version))
    said: list[str] = []
    if row.status == "recompiled" and not replace:
        before = Shape.from_data({"slug": shape.slug, "steps": row.before or []})
        said = differences(shape, before)
        queue, was = (each or shape.slug for each in (shape.options.queue, row.queue_before))
        if queue != was:
            said.append(changed("queue", queue, was))
    return UpsertedFlow(row.status, said, row.version)


def deleting(flow: Definition | str, actor: str | None) -> Call[Exists]:
    return delete_flow(name_of(flow), actor)


def deleted(flow: Definition | str, row: Exists) -> bool:
    if row.exists:
        emit(FlowDeleted(name_of(flow)))
    return row.exists


def existing(flow: Definition | str) -> Call[Exists]:
    return flow_exists(name_of(flow))


def name_of(flow: Definition | str) -> str:
    """A definition stands for its slug; InvalidDefinition (`invalid_slug`) for what nothing can be
    called."""
    return slug_of(flow) if is_definition(flow) else checked_slug(flow)


def is_definition(value: object) -> bool:
    is_machine = isinstance(value, type) and issubclass(value, Machine)
    return is_machine or isinstance(value, Flow | Job)
