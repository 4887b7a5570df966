"""What the bodies of a random run do."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from .definition import FlowDef, Json, StepDef
from .outcome import Completed, Failed, Outcome
from .rows import TaskKey
from .vocabulary import ARRAYS, OBJECTS, SCALARS


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What each attempt of each task comes to, cycled by index and attempt."""

    outcomes: dict[str, list[Outcome]]

    def __call__(self, key: TaskKey, attempt: int) -> Outcome:
        slug, index = key
        told = self.outcomes[slug]
        return told[(index + attempt - 1) % len(told)]


@st.composite
def behaviours(draw: st.DrawFn, flow: FlowDef) -> Behaviour:
    return Behaviour({step.slug: draw(_table(flow, step)) for step in flow.steps})


def _table(flow: FlowDef, step: StepDef) -> st.SearchStrategy[list[Outcome]]:
    feeds_a_map = any(child.kind == "map" for child in flow.children(step.slug))
    return st.sampled_from(FEEDS_A_MAP if feeds_a_map and step.kind == "single" else PLAIN)


def _mixed(usual: list[Json], rare: list[Json]) -> list[list[Outcome]]:
    """Mostly successes; failures that a retry heals, that none heals, that forbid one."""
    good: list[Outcome] = [Completed(value) for value in usual]
    odd: list[Outcome] = [Completed(value) for value in rare]
    no, never = Failed("no"), Failed("never", permanent=True)
    healed = [tell for value in good[:3] for tell in ([no, value], [value, no], [no, no, value])]
    return [[value] for value in good * 4 + odd] + healed + [[no], [never], [good[1], never]]


PLAIN = _mixed([*OBJECTS, *ARRAYS[:2]], SCALARS)
FEEDS_A_MAP = _mixed(ARRAYS, [None, {}])
