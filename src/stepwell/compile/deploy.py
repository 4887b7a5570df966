"""Make the database know the flows of this code, and find out which versions it can serve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from stepwell.compile.flows import compile_flow
from stepwell.db.call import Call, one
from stepwell.db.define import ensure_flow
from stepwell.db.inspect import versions_of
from stepwell.define.flow import Flow

Row = TypeVar("Row")
AnyFlow = Flow[Any, Any]


class Runs(Protocol):
    """Whatever runs a call: a pool, or one connection that comes back."""

    async def run(self, call: Call[Row], /) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Deployed:
    """The version that a flow's code has in this database; `created` when it is new there."""

    flow: str
    version_id: int
    version: int
    created: bool


async def deploy(
    pool: Runs, flows: Iterable[AnyFlow], *, make_current: bool = True
) -> list[Deployed]:
    """Give each flow the version of its shape, made when there is none. Nothing is removed:
    running runs finish on the version that they started with."""
    shapes = [compile_flow(flow) for flow in flows]  # all are checked before one is written
    deployed: list[Deployed] = []
    for shape in shapes:
        row = one(await pool.run(ensure_flow(shape.to_json(), make_current=make_current)))
        deployed.append(Deployed(shape.slug, row.version_id, row.version, row.status == "created"))
    return deployed


def serves(flow: AnyFlow, structure: Sequence[dict[str, Any]]) -> bool:
    """Whether this code can run a version: for every step of it there is a handler of the same
    slug, type and dependencies. Conditions, policies and options are the database's business."""
    return all(_serves_step(flow, step) for step in structure)


async def lanes(pool: Runs, flows: Iterable[AnyFlow]) -> tuple[list[str], list[int]]:
    """The queues and version ids of all that these flows can serve, as parallel lists."""
    by_slug = {flow.slug: flow for flow in flows}
    versions = await pool.run(versions_of(list(by_slug)))
    served = [v for v in versions if serves(by_slug[v.flow_slug], v.structure)]
    served.sort(key=lambda version: version.version_id)
    return [v.queue for v in served], [v.version_id for v in served]


def _serves_step(flow: AnyFlow, stored: dict[str, Any]) -> bool:
    step = flow.steps.get(stored["slug"])
    return (
        step is not None
        and step.kind == stored["stepType"]
        and sorted(step.dependencies) == sorted(stored["dependencies"])
    )
