"""Draw runs until they have ended: as a live tree on a terminal, a line per change elsewhere. A
database that goes away meanwhile is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from stepwell.cli.output import seconds, shortened, visible
from stepwell.cli.picture import Family, Picture
from stepwell.cli.steps import percent
from stepwell.cli.tree import drawn
from stepwell.client.client import Client
from stepwell.client.run import StepInfo
from stepwell.db.connect import hopeless
from stepwell.errors import DatabaseUnavailable

INTERVAL = 0.1  # between two looks, and drawings
LONGEST = 0.5  # while nothing happens
GROWTH = 1.2
REST = 2  # times as long as a look took, if that is longer
TENTHS = 10  # of a map or of a step that says how far it is: each is told once


class Sight:
    """What was seen of some runs at last, and since when nothing can be seen."""

    def __init__(self, client: Client, run_ids: Sequence[UUID]) -> None:
        self._family = Family(client, run_ids)
        self._pause = INTERVAL
        self.shown: list[Picture] = []
        self.away: float | None = None

    @property
    def over(self) -> bool:
        return self.away is None and all(each.ended for each in self.shown)

    async def look(self) -> float:
        """At first somebody has to be there. Answers with the seconds until the next look."""
        began, before = time.monotonic(), self.shown
        try:
            self.shown = await self._family.look()
            self.away = None
        except DatabaseUnavailable as error:
            cause = error.__cause__
            if not self.shown or (isinstance(cause, psycopg.Error) and hopeless(cause)):
                raise
            self.away = time.monotonic() if self.away is None else self.away
        same = [at(each, None) for each in before] == [at(each, None) for each in self.shown]
        self._pause = min(self._pause * GROWTH, LONGEST) if same else INTERVAL
        return max(self._pause, REST * (time.monotonic() - began))


def at(shown: Picture, moment: datetime | None) -> Picture:
    """The same, seen at that time; without one, to compare it."""
    below = [at(each, moment) for each in shown.below]
    return replace(shown, seen_at=moment or datetime.min, below=below)


async def follow(client: Client, run_ids: Sequence[UUID], console: Console) -> list[Picture]:
    """Show the runs until all have ended; how they looked at last."""
    sight = Sight(client, run_ids)
    if not console.is_terminal:
        return await tell(sight, console)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            next_look = time.monotonic() + await sight.look()
            live.update(view(sight, console.height), refresh=True)
            if sight.over:
                return sight.shown
            while (left := next_look - time.monotonic()) > 0:
                await asyncio.sleep(min(left, INTERVAL))
                live.update(view(sight, console.height), refresh=True)


def view(sight: Sight, height: int) -> RenderableType:
    if sight.over:
        return drawn(sight.shown)
    if sight.away is None:
        return drawn([at(each, datetime.now(UTC)) for each in sight.shown], height)
    away = seconds(time.monotonic() - sight.away)
    said = f"the database has been away for {away}; this is how it was"
    return Group(drawn(sight.shown, height - 1), Text(said, style="bold yellow"))


async def tell(sight: Sight, console: Console) -> list[Picture]:
    told: set[object] = set()
    away = False
    while True:
        pause = await sight.look()
        if away != (sight.away is not None):
            away = not away
            console.print("the database is away" if away else "the database is back", markup=False)
        for change in () if away else all_changes(sight.shown):
            if change.what not in told:
                told.add(change.what)
                console.print(visible(change.line), markup=False)
        if sight.over:
            return sight.shown
        await asyncio.sleep(pause)


@dataclass(frozen=True, slots=True)
class Change:
    """Something to say: when it was, what makes it new, and how it is said."""

    at: datetime
    what: object
    line: str


def all_changes(shown: Sequence[Picture]) -> list[Change]:
    """In the order in which they happened; of a run its end comes last."""
    found = [change for each in shown for change in changes(each)]
    return sorted(found, key=lambda change: change.at)


def changes(shown: Picture) -> Iterator[Change]:
    """What there is to say of a run and its children so far. Each is said once."""
    run = str(shown.run.id)[-4:]
    a_job = shown.run.flow if shown.run.kind == "job" else None  # its only step has no name of ours
    for a in shown.attempts:
        said = f"{a_job or a.step}[{a.task_index}] attempt {a.attempt} failed: "
        line = f"{run}  {said}{a.error_type}: {a.error_message}"
        yield Change(a.failed_at, (line, a.failed_at), line)
    for step in shown.steps:
        for at, what, said in changes_of(step, shown):
            line = f"{run}  {a_job or step.step} {said}"
            yield Change(at, (shown.run.id, step.step, what), line)
    for child in shown.children:
        line = f"{run}  child {str(child.run_id)[-4:]} is of {child.slug}"
        yield Change(child.started_at, line, line)
    for below in shown.below:
        yield from changes(below)
    if shown.run.ended_at is not None:
        line = f"{run}  run {shown.run.status}"
        yield Change(shown.run.ended_at, (line, shown.run.ended_at), line)


def changes_of(step: StepInfo, shown: Picture) -> Iterator[tuple[datetime, object, str]]:
    now, told = shown.seen_at, shown.progress_of(step)
    if told is not None and told.running:
        share = None if told.share is None else int(TENTHS * told.share)
        said = "" if told.share is None else percent(told.share)
        message = shortened(told.message or "", 200)
        yield told.at, (told.attempt, share, message), f"{said}  {message}".strip()
    if step.type == "map" and step.initial_tasks and 0 < step.completed_tasks < step.initial_tasks:
        tenth = TENTHS * step.completed_tasks // step.initial_tasks
        yield now, ("tenth", tenth), f"{step.completed_tasks}/{step.initial_tasks}"
    if step.awaits and not shown.ended:
        names = ", ".join(map(visible, step.awaits))
        yield now, ("awaits", names, step.next_at), f"waits for {names}"
    if step.blocked_on and not shown.ended:
        yield now, ("blocked", step.blocked_on), f"waits for a slot of {step.blocked_on}"
    if step.started_at and step.status in ("completed", "failed") and step.ended_at:
        length = seconds((step.ended_at - step.started_at).total_seconds())
        yield step.ended_at, (step.status, step.ended_at), f"{step.status} after {length}"
    elif step.status == "skipped":
        yield step.ended_at or now, "skipped", f"skipped: {step.skip_reason}"
