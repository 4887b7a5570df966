"""Random flows, inputs and behaviours, weighted towards what the planner finds hard.

One draw settles as much as it can: drawing, not running, is what thousands of flows cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from hypothesis import strategies as st

from .behaviour import Behaviour, behaviours
from .definition import FlowDef, Json, Kind, Pattern, Policy, StepDef
from .vocabulary import ARRAYS, OBJECTS, PARTS, SCALARS

KINDS: list[Kind] = ["single", "single", "map"]
UNMET: list[Policy] = ["skip", "skip", "skip", "skip-cascade", "skip-cascade", "fail"]
EXHAUSTED: list[Policy] = ["fail", "skip", "skip", "skip-cascade"]
TRAITS = list(product(UNMET, EXHAUSTED, [None, 1, 2, 3]))
SLUGS = ["abcdefgh", "hgfedcba", "dbhaecgf", "zAyB_xCw"]
# Which patterns a step has; most have none.
PATTERNS = ["", "", "", "", "required", "required", "forbidden", "both"]
ROOT_PATTERNS: list[Pattern] = [part for part in PARTS if isinstance(part, dict)]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One flow, and the runs of it: an input and a behaviour each."""

    flow: FlowDef
    runs: list[tuple[Json, Behaviour]]


@st.composite
def scenarios(draw: st.DrawFn, max_runs: int = 3) -> Scenario:
    flow = draw(flows())
    count = draw(st.integers(1, max_runs))
    return Scenario(flow, [(draw(inputs(flow)), draw(behaviours(flow))) for _ in range(count)])


@st.composite
def flows(draw: st.DrawFn, max_steps: int = 8) -> FlowDef:
    slugs = draw(st.sampled_from(SLUGS))[: draw(st.integers(1, max_steps))]
    steps = [draw(_steps(slug, slugs[:position])) for position, slug in enumerate(slugs)]
    return FlowDef("flow", tuple(steps), draw(st.integers(1, 3)))


def inputs(flow: FlowDef) -> st.SearchStrategy[Json]:
    if flow.has_root_map():
        return st.sampled_from(ARRAYS)
    return st.sampled_from([*OBJECTS, *OBJECTS, *OBJECTS, *SCALARS[:4], *ARRAYS[:2]])


@st.composite
def _steps(draw: st.DrawFn, slug: str, earlier: str) -> StepDef:
    kind: Kind = draw(st.sampled_from(KINDS))
    dependencies = draw(st.sampled_from(_parents(earlier, 1 if kind == "map" else 3)))
    when_unmet, when_exhausted, max_attempts = draw(st.sampled_from(TRAITS))
    step = StepDef(
        slug,
        dependencies,
        kind,
        when_unmet=when_unmet,
        when_exhausted=when_exhausted,
        max_attempts=max_attempts,
    )
    patterns = draw(st.sampled_from(PATTERNS))
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
