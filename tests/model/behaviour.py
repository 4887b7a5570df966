"""What the bodies of a random run do."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from .definition import FlowDef, Json, StepDef
from .outcome import Completed, Failed, Outcome
from .rows import ABSENT, TaskKey
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
def behaviours(draw: st.DrawFn, flow: FlowDef, troubled: bool) -> Behaviour:
    return Behaviour({step.slug: draw(_table(flow, step, troubled)) for step in flow.steps})


def _table(flow: FlowDef, step: StepDef, troubled: bool) -> st.SearchStrategy[list[Outcome]]:
    feeds_a_map = step.kind == "single" and any(
        child.kind == "map" for child in flow.children(step.slug)
    )
    return st.sampled_from(TABLES[feeds_a_map, troubled])


def _tables(usual: list[Json], rare: list[Json], calm: int, odds: int) -> list[list[Outcome]]:
    """Successes, the same or other at each index; failures that a retry heals or that none does."""
    good: list[Outcome] = [Completed(value) for value in usual]
    odd: list[Outcome] = [Completed(value) for value in [*rare, ABSENT]]
    no, never = Failed("no"), Failed("never", permanent=True)
    same = [[value] for value in good * calm + odd * odds]
    other = [good[:3], good[2:], [*good[3:], good[0]]] * calm
    healed = [tell for value in good[:2] for tell in ([no, value], [value, no], [no, no, value])]
    fatal: list[list[Outcome]] = [[no], [never], [good[1], never], [never, no]]
    return same + other + healed + fatal * odds


PLAIN: list[Json] = [*OBJECTS, *ARRAYS[:2]]
NO_ARRAYS: list[Json] = [None, {}]
TABLES = {
    (False, False): _tables(PLAIN, SCALARS, 4, 1),
    (False, True): _tables(PLAIN, SCALARS, 1, 2),
    (True, False): _tables(ARRAYS, NO_ARRAYS, 4, 1),
    (True, True): _tables(ARRAYS, NO_ARRAYS, 1, 2),
}
