"""Random flows, inputs and behaviours, weighted towards what the planner finds hard.

One draw settles as much as it can: drawing, not running, is what thousands of flows cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import TypeAlias

from hypothesis import strategies as st

from .behaviour import Behaviour, behaviours
from .definition import FlowDef, Json, Kind, Pattern, Policy, StepDef
from .vocabulary import ARRAYS, OBJECTS, PARTS, SCALARS

SLUGS = ["abcdefgh", "hgfedcba", "dbhaecgf", "zAyB_xCw"]
ROOT_PATTERNS: list[Pattern] = [part for part in PARTS if isinstance(part, dict)]
# Kind, when_unmet, when_exhausted, max_attempts, and which patterns the step has.
Traits: TypeAlias = tuple[Kind, Policy, Policy, "int | None", str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One flow, and the runs of it: an input and a behaviour each."""

    flow: FlowDef
    runs: list[tuple[Json, Behaviour]]


@dataclass(frozen=True, slots=True)
class Flavour:
    """What the steps of one flow have in common, so that rare things meet each other."""

    kinds: list[Kind]
    unmet: list[Policy]
    exhausted: list[Policy]
    attempts: list[int | None]
    patterns: list[str]
    troubled: bool = False

    def traits(self) -> list[Traits]:
        return list(product(self.kinds, self.unmet, self.exhausted, self.attempts, self.patterns))


POLICIES: list[Policy] = ["skip", "skip-cascade", "fail"]
SELDOM, OFTEN = ["", "", "", "required", "forbidden"], ["", "required", "forbidden", "both"]
FLAVOURS = [
    Flavour(["single", "map"], POLICIES[:2], POLICIES, [None, 1, 2, 3], SELDOM),
    Flavour(["single", "single", "map"], POLICIES, POLICIES, [None], OFTEN),
    Flavour(["single", "map"], ["skip", "fail"], ["skip"], [None], OFTEN),
    Flavour(["single", "map"], ["skip-cascade"], ["skip-cascade"], [1], OFTEN, troubled=True),
    Flavour(["single", "map"], ["skip"], POLICIES, [1, None], [""], troubled=True),
    Flavour(["single", "map", "map"], ["skip"], ["fail", "fail", "skip"], [1], [""], troubled=True),
]
TRAITS = [(flavour.traits(), flavour.troubled) for flavour in FLAVOURS]


@st.composite
def scenarios(draw: st.DrawFn, max_runs: int = 3) -> Scenario:
    traits, troubled = draw(st.sampled_from(TRAITS))
    flow = draw(flows(traits))
    count = draw(st.integers(1, max_runs))
    runs = [(draw(inputs(flow)), draw(behaviours(flow, troubled))) for _ in range(count)]
    return Scenario(flow, runs)


@st.composite
def flows(draw: st.DrawFn, traits: list[Traits], max_steps: int = 8) -> FlowDef:
    slugs = draw(st.sampled_from(SLUGS))[: draw(st.integers(1, max_steps))]
    steps = [draw(_steps(slug, slugs[:position], traits)) for position, slug in enumerate(slugs)]
    return FlowDef("flow", tuple(steps), draw(st.integers(1, 3)))


def inputs(flow: FlowDef) -> st.SearchStrategy[Json]:
    if flow.has_root_map():
        return st.sampled_from(ARRAYS)
    return st.sampled_from([*OBJECTS, *OBJECTS, *OBJECTS, *SCALARS[:4], *ARRAYS[:2]])


@st.composite
def _steps(draw: st.DrawFn, slug: str, earlier: str, traits: list[Traits]) -> StepDef:
    kind, when_unmet, when_exhausted, max_attempts, patterns = draw(st.sampled_from(traits))
    dependencies = draw(st.sampled_from(_parents(earlier, 1 if kind == "map" else 3)))
    step = StepDef(
        slug,
        dependencies,
        kind,
        when_unmet=when_unmet,
        when_exhausted=when_exhausted,
        max_attempts=max_attempts,
    )
    if patterns in ("required", "both"):
        step = replace(step, required=draw(_patterns(dependencies)))
    if patterns in ("forbidden", "both"):
        step = replace(step, forbidden=draw(_patterns(dependencies)))
    return step


def _parents(earlier: str, most: int) -> list[tuple[str, ...]]:
    """No parent about once in five, else up to `most` of the earlier steps."""
    some = [chosen for size in range(1, most + 1) for chosen in combinations(earlier, size)]
    return [()] * (len(some) // 4 + 1) + some


def _patterns(dependencies: Sequence[str]) -> st.SearchStrategy[Pattern]:
    """For a root about its input; for others about what they wait for and the flow's input."""
    if not dependencies:
        return st.sampled_from(ROOT_PATTERNS)
    about = [*dependencies, *dependencies, "flow_input"]
    one: list[Pattern] = [{key: part} for key, part in product(about, PARTS)]
    two = [{**one[n], **one[-1 - n * 5 % len(one)]} for n in range(0, len(one), 3)]
    return st.sampled_from([{}, *one, *two])
