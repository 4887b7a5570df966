"""Make the database know the definitions of this code, and find out which versions it serves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from stepwell.compile.adopt import Adopted, Lane
from stepwell.compile.flows import compile_flow
from stepwell.compile.jobs import compile_job
from stepwell.compile.limits import compile_limits
from stepwell.compile.machines import compile_machine
from stepwell.compile.shape import Shape
from stepwell.db.call import Call, one
from stepwell.db.define import Ensured, ensure_flow, ensure_limits
from stepwell.db.inspect import VersionRow, versions_of
from stepwell.define.app import Stepwell
from stepwell.define.definition import AnyFlow
from stepwell.define.limits import Limit
from stepwell.define.registry import Registry
from stepwell.define.slug import JOB_STEP

Row = TypeVar("Row")
Served = Stepwell | Iterable[AnyFlow]


class Runs(Protocol):
    """Whatever runs a call: a pool, or one connection that comes back."""

    async def run(self, call: Call[Row], /) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Deployed:
    """The version that a definition's code has in this database; `created` when it is new there."""

    flow: str
    version_id: int
    version: int
    created: bool


async def deploy(pool: Runs, app: Served, *, make_current: bool = True) -> list[Deployed]:
    """Give each flow the version of its shape, and each machine and job its own, made when there
    is none. Nothing is removed: running runs finish on the version that they started with."""
    app = _app_of(app)
    shapes = shapes_of(app)  # all are checked before one is written
    deployed: list[Deployed] = []
    for shape in shapes:
        [row] = await deploy_shapes(pool, [shape.to_json()], make_current=make_current)
        deployed.append(Deployed(shape.slug, row.version_id, row.version, row.status == "created"))
    await deploy_limits(pool, app.limits)
    return deployed


async def deploy_shapes(
    pool: Runs, shapes: Iterable[str], *, make_current: bool = True
) -> list[Ensured]:
    """The same for shapes as JSON."""
    return [one(await pool.run(ensure_flow(shape, make_current=make_current))) for shape in shapes]


async def deploy_limits(pool: Runs, limits: Iterable[Limit]) -> None:
    """What the code says of its limits counts from now on."""
    if wanted := tuple(limits):
        await pool.run(ensure_limits(compile_limits(wanted)))


def shapes_of(app: Stepwell) -> list[Shape]:
    """Everything that an app defines, as data."""
    shapes = [
        *(compile_flow(flow) for flow in app.flows),
        *(compile_machine(machine) for machine in app.machines),
        *(compile_job(job) for job in app.jobs),
    ]
    return [shape.archived() for shape in shapes] if app.archive_hook else shapes


async def lanes(
    pool: Runs, app: Served, *, adopted: Adopted | None = None
) -> tuple[list[str], list[int]]:
    """The queues and version ids of all that this code can serve, as parallel lists."""
    found = await served_lanes(pool, app, adopted=adopted)
    return [lane.queue for lane in found], [lane.version_id for lane in found]


async def served_lanes(
    pool: Runs, app: Served, *, without: Collection[str] = (), adopted: Adopted | None = None
) -> list[Lane]:
    """Where the tasks wait of all that this code can serve; `without` slugs that are not to be
    served yet. `adopted` learns what handlers serve by a pattern."""
    app = _app_of(app)
    registry = app.registry
    versions = await pool.run(versions_of(list(registry.slugs)))
    ours = [v for v in versions if serves_version(registry, v)]
    wanted = (v for v in ours if v.flow_slug not in without)
    served = [Lane(v.queue, v.version_id, v.flow_slug) for v in wanted]
    served += await (adopted or Adopted()).look(pool, app.handlers, {v.version_id for v in ours})
    return sorted(served, key=lambda lane: (lane.version_id, lane.queue))


def serves_version(registry: Registry, stored: VersionRow) -> bool:
    """Whether this code can run a stored version: it has a handler for every step of it."""
    match stored.kind:
        case "machine":
            facts = registry.machines.get((stored.flow_slug, stored.version))
            return facts is not None and _has_all(facts.steps, stored.structure)
        case "job":
            job = registry.jobs.get(stored.flow_slug)
            is_ours = job is not None and job.version == stored.version
            return is_ours and _has_all({JOB_STEP: job}, stored.structure)
        case _:
            flow = registry.flows.get(stored.flow_slug)
            return flow is not None and serves(flow, stored.structure)


def serves(flow: AnyFlow, structure: Sequence[dict[str, Any]]) -> bool:
    """Whether this code can run a version: for every step of it there is a handler of the same
    slug, type and dependencies. Conditions, policies and options are the database's business."""
    return all(_serves_step(flow, step) for step in structure)


def _serves_step(flow: AnyFlow, stored: dict[str, Any]) -> bool:
    step = flow.steps.get(stored["slug"])
    return (
        step is not None
        and step.kind == stored["stepType"]
        and sorted(step.dependencies) == sorted(stored["dependencies"])
    )


def _has_all(steps: Mapping[str, object], structure: Sequence[dict[str, Any]]) -> bool:
    return all(stored["slug"] in steps for stored in structure)


def _app_of(app: Served) -> Stepwell:
    return app if isinstance(app, Stepwell) else Stepwell(flows=app)
