"""What follows from resolved dependencies: conditions, skips, empty maps, starts, the run's end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .contains import matches
from .definition import Json, StepDef
from .rows import ABSENT, Absent, State, TaskRow, Value

UNMET = "Condition not met"


def advance(run: State) -> None:
    """Waves until nothing changes, then start what is ready, then end the run if it is over."""
    while run.run.status == "started" and _wave(run):
        pass
    if run.run.status == "started":
        _start_ready_steps(run)
        _maybe_complete_run(run)


def fail_run(run: State, slug: str, message: str) -> None:
    """The step and with it the run fail; all other rows stay as they are."""
    run.steps[slug].status = "failed"
    run.steps[slug].error_message = message
    run.run.status = "failed"
    run.run.error_message = message
    run.run.failed_step = slug


def finish(run: State, slug: str, output: Value) -> None:
    row = run.steps[slug]
    row.status, row.output, row.remaining_tasks = "completed", output, 0
    run.run.remaining_steps -= 1


def force_skip(run: State, slug: str, reason: str, *, downstream: bool) -> None:
    """Skip the step and, if asked, all created or started steps that depend on it in any way."""
    reached = [slug]
    for parent in reached:
        row = run.steps[parent]
        if row.status in ("created", "started"):
            row.status, row.remaining_tasks = "skipped", None
            row.skip_reason = reason if parent == slug else "dependency_skipped"
            run.run.remaining_steps -= 1
        if downstream:
            children = (child.slug for child in run.flow.children(parent))
            reached += [child for child in children if child not in reached]


def release(run: State, parents: Iterable[str]) -> None:
    """The parents are resolved: their children wait for one less, and maps learn their size."""
    released = Counter(child.slug for slug in parents for child in run.flow.children(slug))
    for slug, count in released.items():
        row, step = run.steps[slug], run.flow.step(slug)
        row.remaining_deps -= count
        if step.kind == "map" and row.initial_tasks is None:
            row.initial_tasks = _size_of(run, step.dependencies[0])


def _size_of(run: State, parent: str) -> int:
    output = run.steps[parent].output
    return len(output) if isinstance(output, list) else 0


def _wave(run: State) -> bool:
    """One wave of resolutions; False when no step changed."""
    ready = _ready(run)
    unmet = [step for step in ready if not _is_met(run, step)]
    if failing := [step for step in unmet if step.when_unmet == "fail"]:
        fail_run(run, failing[0].slug, UNMET)
        return False
    resolved: list[str] = []
    for step in ready:
        if step not in unmet:
            if run.steps[step.slug].initial_tasks == 0:
                finish(run, step.slug, [])
                resolved.append(step.slug)
        elif step.when_unmet == "skip":
            force_skip(run, step.slug, "condition_unmet", downstream=False)
            resolved.append(step.slug)
        else:
            force_skip(run, step.slug, "condition_unmet", downstream=True)
    release(run, resolved)
    return bool(resolved)


def _ready(run: State) -> list[StepDef]:
    rows = run.steps
    return [
        step
        for step in run.flow.steps
        if rows[step.slug].status == "created" and rows[step.slug].remaining_deps == 0
    ]


def _is_met(run: State, step: StepDef) -> bool:
    required, forbidden = step.required, step.forbidden
    subject = _subject(run, step)
    return (required is None or matches(subject, required)) and (
        forbidden is None or not matches(subject, forbidden)
    )


def _subject(run: State, step: StepDef) -> Json:
    """What the patterns are held against: the run's input at a root, else the parents' outputs."""
    if not step.dependencies:
        return run.run.input
    return {"flow_input": run.run.input} | completed_outputs(run, step.dependencies)


def _start_ready_steps(run: State) -> None:
    for step in _ready(run):
        row = run.steps[step.slug]
        assert row.initial_tasks
        row.status, row.remaining_tasks = "started", row.initial_tasks
        run.tasks |= {(step.slug, index): TaskRow() for index in range(row.initial_tasks)}


def _maybe_complete_run(run: State) -> None:
    if run.run.remaining_steps:
        return
    leaves = [step.slug for step in run.flow.steps if not run.flow.children(step.slug)]
    outputs = completed_outputs(run, leaves)
    run.run.status, run.run.output = "completed", outputs or ABSENT


def completed_outputs(run: State, slugs: Iterable[str]) -> dict[str, Json]:
    """By step; a skipped one is absent, SQL NULL is null."""
    return {
        slug: _json(run.steps[slug].output)
        for slug in slugs
        if run.steps[slug].status == "completed"
    }


def _json(value: Value) -> Json:
    return None if isinstance(value, Absent) else value
