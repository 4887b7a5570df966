"""Find the flows that handlers serve by a pattern, and bind them to their code."""

from __future__ import annotations

from collections.abc import Collection
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


class Adopted:
    """The flows that handlers serve, by version. A version is bound once, when it is first seen,
    and forgotten when it is deleted."""

    def __init__(self) -> None:
        self._flows: dict[int, Flow[Any, Any]] = {}
        self._refused: set[int] = set()
        self._handlers: tuple[PatternHandler, ...] = ()

    def flow(self, version_id: int) -> Flow[Any, Any] | None:
        """The flow of a version with its code; None: no handler serves it."""
        return self._flows.get(version_id)

    async def look(
        self, pool: Runs, handlers: tuple[PatternHandler, ...], served: Collection[int] = ()
    ) -> list[Lane]:
        """Where their tasks wait. Versions that are `served` already are left alone: code for one
        flow goes before code for many."""
        if not handlers and not self._handlers:
            return []
        if handlers != self._handlers:  # another one may serve what none did
            self._handlers, self._refused = handlers, set()
        known = {*self._flows, *self._refused, *served}
        patterns = [each.expression for each in handlers]
        rows = await pool.run(versions_like(patterns, sorted(known)))
        there = {row.version_id for row in rows} - {*served}
        self._flows = {id: flow for id, flow in self._flows.items() if id in there}
        self._refused &= there
        await self._take(pool, [row for row in rows if row.version_id in there])
        return [Lane(r.queue, r.version_id) for r in rows if r.version_id in self._flows]

    async def _take(self, pool: Runs, rows: list[MatchingVersion]) -> None:
        """Their tasks are claimed only after this: then what the handlers look at is there."""
        fresh = {r.version_id: self._bound(r) for r in rows if r.structure is not None}
        wanting = [
            (version_id, step.slug)
            for version_id, flow in fresh.items()
            for step in (flow.steps.values() if flow else ())
            if step.takes_input
        ]
        if wanting:
            await pool.run(want_inputs([v for v, _ in wanting], [slug for _, slug in wanting]))
        self._flows |= {version_id: flow for version_id, flow in fresh.items() if flow}
        self._refused |= {version_id for version_id, flow in fresh.items() if not flow}

    def _bound(self, row: MatchingVersion) -> Flow[Any, Any] | None:
        """With the first handler that has code for all of it."""
        refusals: list[str] = []
        for each in self._handlers:
            if each.matches(row.flow_slug):
                try:
                    return each.flow(row.flow_slug, row.structure or ())
                except DefinitionError as error:
                    refusals.append(str(error))
        emit(FlowNotServed(row.flow_slug, row.version, "; ".join(refusals)))
        return None
