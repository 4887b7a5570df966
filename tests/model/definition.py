"""The flows that the model runs: plain values, in the order in which their steps were added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Pattern: TypeAlias = Mapping[str, Json]
Kind = Literal["single", "map"]
Policy = Literal["fail", "skip", "skip-cascade"]


@dataclass(frozen=True, slots=True)
class StepDef:
    """One step; `dependencies` are slugs of steps that stand before it."""

    slug: str
    dependencies: tuple[str, ...] = ()
    kind: Kind = "single"
    required: Pattern | None = None
    forbidden: Pattern | None = None
    when_unmet: Policy = "skip"
    when_exhausted: Policy = "fail"
    max_attempts: int | None = None


@dataclass(frozen=True, slots=True)
class FlowDef:
    """A flow: its steps in topological order, which is also their step_index."""

    slug: str
    steps: tuple[StepDef, ...]
    max_attempts: int = 3

    def step(self, slug: str) -> StepDef:
        return next(step for step in self.steps if step.slug == slug)

    def children(self, slug: str) -> list[StepDef]:
        return [step for step in self.steps if slug in step.dependencies]

    def attempts(self, slug: str) -> int:
        own = self.step(slug).max_attempts
        return self.max_attempts if own is None else own

    def has_root_map(self) -> bool:
        return any(step.kind == "map" and not step.dependencies for step in self.steps)
