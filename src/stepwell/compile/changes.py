"""What a deploy changes, told by the very deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stepwell.compile.deploy import Deployed, Runs, deploy, shapes_of
from stepwell.compile.diff import changed, differences
from stepwell.compile.drift import Drift, drift
from stepwell.compile.shape import Shape
from stepwell.db.drift import StoredOptions, apply_options, stored_options
from stepwell.db.inspect import VersionRow, list_flows, versions_of
from stepwell.define.app import Stepwell

Status = Literal["new", "new version", "changed", "current again", "unchanged"]


@dataclass(frozen=True, slots=True)
class Change:
    """One definition: the version that its code has now, and the one before (None: the database
    did not know it). `current` is what a start by its name gets now: of a machine the highest there
    is. `differences` says what became of the structure."""

    slug: str
    kind: str
    version: int
    previous: int | None
    current: int
    status: Status
    differences: tuple[str, ...]
    drift: tuple[Drift, ...]


@dataclass(frozen=True, slots=True)
class Before:
    """What a definition was: its version of the same number, of a flow the current one."""

    row: VersionRow
    queue: str
    options: Sequence[StoredOptions]


async def deploy_changes(runs: Runs, app: Stepwell, *, apply_tuned: bool = False) -> list[Change]:
    """Deploy an app, and say what that changed. `apply_tuned`: options of the code also where
    somebody tuned them by hand."""
    shapes = shapes_of(app)
    before = await _before(runs, shapes)
    deployed = await deploy(runs, app)
    if apply_tuned:
        for shape, made in zip(shapes, deployed, strict=True):
            await runs.run(apply_options(shape.to_json(), made.version_id))
    current = {row.slug: row.version for row in await runs.run(list_flows())}
    return [
        _change(shape, made, was, current[shape.slug])
        for shape, made, was in zip(shapes, deployed, before, strict=True)
    ]


async def _before(runs: Runs, shapes: Sequence[Shape]) -> list[Before | None]:
    current = {row.slug: row for row in await runs.run(list_flows())}
    rows = await runs.run(versions_of([shape.slug for shape in shapes]))
    versions = {(row.flow_slug, row.version): row for row in rows}
    found: list[Before | None] = []
    for shape in shapes:
        info = current.get(shape.slug)
        row = versions.get((shape.slug, shape.version or -1))
        row = row or (versions.get((shape.slug, info.version)) if info else None)
        if row is None or info is None:
            found.append(None)
        else:
            options = await runs.run(stored_options(row.version_id))
            found.append(Before(row, info.queue, options))
    return found


def _change(shape: Shape, made: Deployed, before: Before | None, current: int) -> Change:
    if before is None:
        return Change(shape.slug, shape.kind, made.version, None, current, "new", (), ())
    was = before.row
    said = differences(shape, _shape_of(was))
    queue = shape.options.queue or shape.slug
    if queue != before.queue and was.version_id != made.version_id:
        said.append(changed("queue", queue, before.queue))
    status = _status(made, was, said)
    is_new = status in ("new version", "current again")
    return Change(
        shape.slug,
        shape.kind,
        made.version,
        was.version,
        current,
        status,
        tuple(said),
        tuple(drift(shape, before.options, new_version=is_new)),
    )


def _status(made: Deployed, was: VersionRow, said: Sequence[str]) -> Status:
    if made.version_id == was.version_id:
        return "changed" if said else "unchanged"
    return "new version" if made.created else "current again"


def _shape_of(row: VersionRow) -> Shape:
    return Shape.from_data({"slug": row.flow_slug, "kind": row.kind, "steps": row.structure})
