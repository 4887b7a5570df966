"""Find the flows that handlers serve by a pattern, and bind them to their code."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from stepwell.db.call import Call
from stepwell.db.upsert import MatchingVersion, versions_like, want_inputs
from stepwell.define.flow import Flow
from stepwell.define.handler import PatternHandler
from stepwell.errors import DefinitionError
from stepwell.observe.emit import emit
from stepwell.observe.events import FlowNotServed

Row = TypeVar("Row")


class Runs(Protocol):
    """Whatever runs a call."""

    async def run(self, call: Call[Row], /) -> list[Row]: ...


@dataclass(frozen=True, slots=True)
class Lane:
    """Where tasks of a version wait."""

    queue: str
    version_id: int
    flow_slug: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A version as it was with so many steps, the flow with its code, and whose code that is. None:
    no handler has code for it."""

    steps: int
    flow: Flow[Any, Any] | None
    handler: PatternHandler | None = None


def fits(_handler: PatternHandler) -> None:
    """Nothing is asked of it."""


class Adopted:
    """The flows that handlers serve, by version. A version is bound when it is first seen, again
    when it has grown a step, and forgotten when it is deleted. `check` raises DefinitionError for
    a handler that could not run here."""

    def __init__(self, check: Callable[[PatternHandler], None] = fits) -> None:
        self._check = check
        self._seen: dict[int, Seen] = {}
        self._handlers: tuple[PatternHandler, ...] = ()

    def flow(self, version_id: int) -> Flow[Any, Any] | None:
        """The flow of a version with its code; None: no handler serves it."""
        seen = self._seen.get(version_id)
        return None if seen is None else seen.flow

    def handler(self, version_id: int) -> PatternHandler | None:
        """Whose code that is."""
        seen = self._seen.get(version_id)
        return None if seen is None else seen.handler

    @property
    def slugs(self) -> set[str]:
        """The flows that handlers serve."""
        return {seen.flow.slug for seen in self._seen.values() if seen.flow}

    async def look(
        self, pool: Runs, handlers: tuple[PatternHandler, ...], served: Collection[int] = ()
    ) -> list[Lane]:
        """Where their tasks wait. Versions that are `served` already are left alone: code for one
        flow goes before code for many."""
        if not handlers:
            return []
        if handlers != self._handlers:  # another one may serve what none did
            self._handlers = handlers
            self._seen = {id: seen for id, seen in self._seen.items() if seen.flow}
        known = {id: seen.steps for id, seen in self._seen.items()} | dict.fromkeys(served, -1)
        patterns = [each.expression for each in handlers]
        rows = await pool.run(versions_like(patterns, [*known], [*known.values()]))
        there = {row.version_id: row for row in rows if row.version_id not in served}
        new = [row for row in there.values() if row.structure is not None]
        unfit = self._unfit() if new else {}
        fresh = {row.version_id: self._bound(row, unfit) for row in new}
        await want(pool, fresh)  # their tasks are claimed only after this
        seen = {**self._seen, **fresh}
        self._seen = {id: seen[id] for id in there if id in seen}
        return [Lane(row.queue, id, row.flow_slug) for id, row in there.items() if self.flow(id)]

    def _unfit(self) -> dict[PatternHandler, str]:
        """Handlers that could not run here, and why. Asked once for all versions."""
        found: dict[PatternHandler, str] = {}
        for each in self._handlers:
            try:
                self._check(each)
            except DefinitionError as error:
                found[each] = str(error)
        return found

    def _bound(self, row: MatchingVersion, unfit: Mapping[PatternHandler, str]) -> Seen:
        """With the first handler that has code for all of it."""
        structure = row.structure or []
        refusals: list[str] = []
        for each in self._handlers:
            if each.matches(row.flow_slug):
                try:
                    flow = each.flow(row.flow_slug, structure)
                    if each not in unfit:
                        return Seen(len(structure), flow, each)
                    refusals.append(unfit[each])
                except DefinitionError as error:
                    refusals.append(str(error))
        emit(FlowNotServed(row.flow_slug, row.version, "; ".join(refusals)))
        return Seen(len(structure), None)


async def want(pool: Runs, fresh: Mapping[int, Seen]) -> None:
    """Their handlers get the flow's input where they look at it, whatever the flow said."""
    wanting = [
        (id, step.slug)
        for id, seen in fresh.items()
        for step in (seen.flow.steps.values() if seen.flow else ())
        if step.takes_input
    ]
    if wanting:
        await pool.run(want_inputs([id for id, _ in wanting], [slug for _, slug in wanting]))
