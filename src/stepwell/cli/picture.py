"""One run as it was at one moment: what commands draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from stepwell.cli.output import plain
from stepwell.client.client import Client
from stepwell.client.logs import LogLine, ProgressInfo
from stepwell.client.run import AttemptInfo, ChildInfo, RunInfo, SignalInfo, StepInfo
from stepwell.errors import NotFound

MOST_ATTEMPTS = 1000  # of one run
MOST_SHOWN = 100  # signals and children of one run
LAST_LINES = 10  # of its log
DEEPEST = 3  # children of children of children
MOST_BELOW = 8  # children that are drawn with their steps


@dataclass(frozen=True, slots=True)
class Picture:
    """`below` are children that are drawn with it."""

    run: RunInfo
    steps: Sequence[StepInfo]
    attempts: Sequence[AttemptInfo]
    seen_at: datetime
    attempts_cut: bool = False  # there are more than these
    signals: Sequence[SignalInfo] = ()
    children: Sequence[ChildInfo] = ()
    progress: Sequence[ProgressInfo] = ()
    lines: Sequence[LogLine] = ()  # the last of its log
    below: Sequence[Picture] = ()

    @property
    def ended(self) -> bool:
        return self.run.status != "started"

    def error_of(self, step: StepInfo) -> str | None:
        """What made it fail, or its last attempt while there will be another."""
        last = next((a for a in reversed(self.attempts) if a.step == step.step), None)
        if last is not None and step.status not in ("completed", "skipped"):
            return f"{last.error_type}: {step.error_message or last.error_message}"
        return step.error_message

    def progress_of(self, step: StepInfo) -> ProgressInfo | None:
        """How far a single step is, or was when it ended without success."""
        told = next((p for p in self.progress if p.step == step.step), None)
        if told is None or step.type == "map" or step.status in ("completed", "skipped"):
            return None
        return told if told.running or step.status in ("failed", "cancelled") else None

    def elements_of(self, step: StepInfo) -> list[ProgressInfo]:
        """The elements of a map that run and say how far they are."""
        if step.type != "map":
            return []
        told = [p for p in self.progress if p.step == step.step and p.running]
        return sorted(told, key=lambda each: each.task_index)


async def picture(client: Client, run: RunInfo) -> Picture:
    """The run as read before, and what belongs to it as that is now."""
    handle = client.run(run.id)
    steps = [as_it_ended(step, run) for step in await handle.steps()]
    attempts: list[AttemptInfo] = []
    if any(step.failed_attempts for step in steps):
        attempts = await handle.attempts(limit=MOST_ATTEMPTS + 1)
    return Picture(
        run=run,
        steps=steps,
        attempts=attempts[:MOST_ATTEMPTS],
        seen_at=datetime.now(UTC),
        attempts_cut=len(attempts) > MOST_ATTEMPTS,
        signals=await handle.signals(MOST_SHOWN),
        children=await handle.children(MOST_SHOWN),
        progress=await handle.progress(MOST_SHOWN),
        lines=await handle.logs(limit=LAST_LINES, newest=True),
    )


async def pictures(client: Client, run_ids: Sequence[UUID]) -> list[Picture]:
    return [await picture(client, await client.get(run_id)) for run_id in run_ids]


class Family:
    """Runs with their children below them, looked at again and again. What has ended is looked at
    once."""

    def __init__(self, client: Client, run_ids: Sequence[UUID]) -> None:
        self._client = client
        self._run_ids = run_ids
        self._over: dict[UUID, Picture] = {}

    async def look(self) -> list[Picture]:
        return [await self._grown(run_id, 0) for run_id in self._run_ids]

    async def _grown(self, run_id: UUID, depth: int) -> Picture:
        if run_id in self._over:
            return self._over[run_id]
        shown = await picture(self._client, await self._client.get(run_id))
        below: list[Picture] = []
        for child in drawn_below(shown.children) if depth < DEEPEST else ():
            try:
                below.append(await self._grown(child.run_id, depth + 1))
            except NotFound:  # it was deleted just now
                continue
        shown = replace(shown, below=below)
        if shown.ended and all(each.run.id in self._over for each in below):
            self._over[run_id] = shown
        return shown


def drawn_below(children: Sequence[ChildInfo]) -> list[ChildInfo]:
    """Those that live or failed before others; in their own order."""
    urgent = sorted(children, key=lambda each: each.status not in ("started", "failed"))
    chosen = {each.run_id for each in urgent[:MOST_BELOW]}
    return [each for each in children if each.run_id in chosen]


def as_it_ended(step: StepInfo, run: RunInfo) -> StepInfo:
    """The one step of a machine or job ends as its run does."""
    if run.kind == "flow" or run.status == "started" or step.status in ("completed", "failed"):
        return step
    return replace(step, status=run.status)


def as_data(shown: Picture, *, attempts: bool) -> dict[str, object]:
    tried = {"attempts": plain(shown.attempts)} if attempts else {}
    more = {"signals": plain(shown.signals), "children": plain(shown.children)}
    said = {"progress": plain(shown.progress), "logs": plain(shown.lines)}
    return {**plain(shown.run), "steps": plain(shown.steps), **more, **said, **tried}
