"""Drive a model run by a script: what each attempt of each task comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from .definition import FlowDef, Json, StepDef
from .model import ModelRun
from .outcome import Completed, Failed, Outcome
from .rows import TaskKey

Script: TypeAlias = Callable[[TaskKey, int], Outcome]


def play(flow: FlowDef, run_input: Json, script: Script | None = None) -> ModelRun:
    """Run to the end, one task at a time, oldest step first."""
    run = ModelRun(flow, run_input)
    script = script or said({})
    while claimable := run.claimable():
        key = min(claimable, key=lambda key: (_index(flow, key[0]), key[1]))
        run.commit(*key, script(key, run.claim(*key)))
    return run


Told: TypeAlias = "Outcome | tuple[Outcome, ...] | Json"


def said(outcomes: Mapping[TaskKey | str, Told]) -> Script:
    """A script from a table by task or step: a value, an outcome, or a tuple, one per attempt."""

    def script(key: TaskKey, attempt: int) -> Outcome:
        told = outcomes.get(key, outcomes.get(key[0]))
        if isinstance(told, tuple):
            told = told[min(attempt, len(told)) - 1]
        return told if isinstance(told, Completed | Failed) else Completed(told)

    return script


def flow(*steps: StepDef, max_attempts: int = 3) -> FlowDef:
    return FlowDef("flow", steps, max_attempts)


def statuses(run: ModelRun) -> dict[str, str]:
    return {slug: row.status for slug, row in run.steps.items()}


def _index(flow: FlowDef, slug: str) -> int:
    return [step.slug for step in flow.steps].index(slug)
