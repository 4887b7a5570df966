"""The live runs of a database that this code could not finish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from stepwell.compile.deploy import Runs
from stepwell.db.drift import LiveRun, LiveVersion, live_runs, live_versions
from stepwell.define.app import Stepwell
from stepwell.define.job import Job
from stepwell.define.machine import MachineDef
from stepwell.define.registry import Registry
from stepwell.define.slug import JOB_STEP
from stepwell.errors import DefinitionError

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A live run, and why this code could not finish it. `steps`: where it stands."""

    run_id: UUID
    flow: str
    kind: str
    version: int
    started_at: datetime
    steps: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """How many live runs there are, how many of them this code could not finish by slug and
    version, and the first of these runs."""

    live: int
    unfinished: dict[tuple[str, int], int]
    runs: tuple[Unfinished, ...]


@dataclass(frozen=True, slots=True)
class Unserved:
    """A version with live runs that this code has nothing for."""

    version: LiveVersion
    reason: str


async def unserved(runs: Runs, app: Stepwell) -> list[Unserved]:
    """The versions that live runs are on and this code could not serve. No run is read for it."""
    found = [(each, why_not(app, each)) for each in await runs.run(live_versions())]
    return [Unserved(version, reason) for version, reason in found if reason]


async def check_runs(
    runs: Runs, app: Stepwell, *, ignore: Collection[str] = (), most: int = 20
) -> Checked:
    """Look at every live run but those whose slug matches a pattern of `ignore`. At most `most`
    runs of each version are told one by one."""
    live = 0
    counts: dict[tuple[str, int], int] = {}
    told: list[Unfinished] = []
    for version in await runs.run(live_versions()):
        if any(fnmatchcase(version.flow_slug, pattern) for pattern in ignore):
            continue
        live += version.live
        count, first = await _check_version(runs, app, version, most)
        if count:
            counts[version.flow_slug, version.version] = count
            told += first
    return Checked(live, counts, tuple(told))


async def _check_version(
    runs: Runs, app: Stepwell, version: LiveVersion, most: int
) -> tuple[int, list[Unfinished]]:
    """Runs are read one by one only where the code has something for their version, but perhaps
    not for where they stand."""
    if reason := why_not(app, version):
        first = await runs.run(live_runs(version.version_id, most=most)) if most else []
        return version.live, [_told(version, run, reason) for run in first]
    if version.kind == "flow":
        return 0, []
    count, found = 0, list[Unfinished]()
    async for run in _all_live(runs, version):
        if reason := _reason(app.registry, version, run):
            count += 1
            if count <= most:
                found.append(_told(version, run, reason))
    return count, found


async def _all_live(runs: Runs, version: LiveVersion) -> AsyncIterator[LiveRun]:
    after: UUID | None = None
    while page := await runs.run(live_runs(version.version_id, after, PAGE)):
        for run in page:
            yield run
        after = page[-1].run_id


def _told(version: LiveVersion, run: LiveRun, reason: str) -> Unfinished:
    slug, kind, number = version.flow_slug, version.kind, version.version
    return Unfinished(run.run_id, slug, kind, number, run.started_at, tuple(run.steps), reason)


def _reason(registry: Registry, version: LiveVersion, run: LiveRun) -> str | None:
    """What of the run itself the code cannot go on with."""
    if version.kind == "job":
        return _unread(registry.jobs[version.flow_slug], run)
    machine = registry.machines[version.flow_slug, version.version]
    gone = [step for step in run.steps if step not in machine.steps]
    if gone:
        return f"it stands at step {gone[0]!r}, which the class does not have; keep the step"
    return _unread(machine, run)


def _unread(code: MachineDef | Job[..., Any, ...], run: LiveRun) -> str | None:
    try:
        if isinstance(code, Job):
            code.read(run.payload or "{}")
        else:
            code.cls.decode(run.payload or "{}")
    except Exception as error:  # a type of theirs may refuse in any way
        what = "its arguments do not" if isinstance(code, Job) else "its state does not"
        return f"{what} fit the code: {error}"
    return None


def why_not(app: Stepwell, stored: LiveVersion) -> str | None:
    """What keeps this code from serving a version at all; None where it does. What the code of a
    flow itself does not serve, a handler may."""
    reason = _in_registry(app.registry, stored)
    if reason is None or stored.kind != "flow":
        return reason
    refusals: list[str] = []
    for each in app.handlers:
        if each.matches(stored.flow_slug):
            try:
                each.flow(stored.flow_slug, stored.structure)
                return None
            except DefinitionError as error:
                refusals.append(str(error))
    return refusals[0] if refusals else reason


def _in_registry(registry: Registry, stored: LiveVersion) -> str | None:
    kind = kind_in(registry, stored.flow_slug)
    if kind is None:
        return f"this code has no {stored.kind} {stored.flow_slug!r}"
    if kind != stored.kind:
        return f"{stored.flow_slug!r} is a {kind} in this code"
    match stored.kind:
        case "machine":
            if (stored.flow_slug, stored.version) in registry.machines:
                return None
            known = sorted(v for slug, v in registry.machines if slug == stored.flow_slug)
            return f"this code has only version {', '.join(map(str, known))} of the machine"
        case "job":
            return None if [s["slug"] for s in stored.structure] == [JOB_STEP] else "it is no job"
        case _:
            return next(_flow_reasons(registry, stored), None)


def kind_in(registry: Registry, slug: str) -> str | None:
    if slug in registry.flows:
        return "flow"
    if slug in registry.jobs:
        return "job"
    return "machine" if any(slug == each for each, _ in registry.machines) else None


def _flow_reasons(registry: Registry, stored: LiveVersion) -> Iterator[str]:
    steps = registry.flows[stored.flow_slug].steps
    for was in stored.structure:
        step = steps.get(was["slug"])
        if step is None:
            yield f"step {was['slug']!r} is gone"
        elif step.kind != was["stepType"]:
            yield f"step {was['slug']!r} was a {was['stepType']} step and is a {step.kind} step"
        elif sorted(step.dependencies) != sorted(was["dependencies"]):
            yield (
                f"step {was['slug']!r} waited for {_listed(was['dependencies'])}"
                f" and waits for {_listed(step.dependencies)}"
            )


def _listed(slugs: Iterable[str]) -> str:
    return ", ".join(sorted(slugs)) or "nothing"
