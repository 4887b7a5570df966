"""One run of a flow as the engine must leave it: no SQL, no clock, one outcome at a time."""

from __future__ import annotations

from dataclasses import asdict
from typing import assert_never

from .definition import FlowDef, Json, StepDef
from .outcome import Completed, Failed, Outcome
from .resolve import advance, completed_outputs, fail_run, finish, force_skip, release
from .rows import (
    ABSENT,
    RunRow,
    Snapshot,
    State,
    StepRow,
    TaskKey,
    TaskRow,
    Value,
    snapshot,
    text,
    type_name,
)


class Refused(Exception):
    """The run cannot be started with that input."""


class ModelRun(State):
    """Call `claim`, then `commit` with what the body came to; read the rows at any time."""

    def __init__(self, flow: FlowDef, run_input: Json) -> None:
        if flow.has_root_map() and not isinstance(run_input, list):
            got = type_name(run_input)
            raise Refused(
                f"Flow {flow.slug} has root map steps but input is not an array (got {got})"
            )
        super().__init__(
            flow,
            RunRow(input=run_input, remaining_steps=len(flow.steps)),
            {step.slug: _first_row(step, run_input) for step in flow.steps},
            tasks={},
        )
        advance(self)

    def claimable(self) -> set[TaskKey]:
        """The tasks that a worker may take now."""
        if self.run.status != "started":
            return set()
        return {
            (slug, index)
            for (slug, index), task in self.tasks.items()
            if task.status == "queued" and self.steps[slug].status == "started"
        }

    def task_input(self, slug: str, index: int) -> Json:
        """What the task gets apart from the flow's input; a root single step gets nothing."""
        step = self.flow.step(slug)
        if not step.dependencies:
            values = self.run.input
        elif step.kind == "single":
            return completed_outputs(self, step.dependencies)
        else:
            values = self.steps[step.dependencies[0]].output
        return values[index] if step.kind == "map" and isinstance(values, list) else None

    def claim(self, slug: str, index: int) -> int:
        """Start the task; answers which attempt this is, from 1."""
        assert (slug, index) in self.claimable()
        task = self.tasks[slug, index]
        task.status = "started"
        task.attempts_count += 1
        return task.attempts_count

    def commit(self, slug: str, index: int, outcome: Outcome) -> bool:
        """Apply the outcome; False when it came too late and changed nothing."""
        task = self.tasks[slug, index]
        started = (self.run.status, self.steps[slug].status, task.status)
        if started != ("started", "started", "started"):
            return False
        match outcome:
            case Completed(output):
                self._complete(slug, task, output)
            case Failed(message, permanent):
                self._fail(slug, task, message, permanent)
            case _:
                assert_never(outcome)
        return True

    def fail_late(self, slug: str, index: int, message: str) -> None:
        """pgflow keeps what a task said that failed after its run did; nothing moves by it."""
        task = self.tasks[slug, index]
        if self.run.status == "failed" and task.status == "started":
            task.status, task.error_message = "failed", message

    def cancel(self, reason: str) -> None:
        """End a started run; its steps and tasks keep their rows."""
        if self.run.status == "started":
            self.run.status, self.run.error_message = "cancelled", reason

    def snapshot(self) -> Snapshot:
        run = asdict(self.run) | {"output": text(self.run.output)}
        del run["input"]
        steps = ((s, asdict(row) | {"output": text(row.output)}) for s, row in self.steps.items())
        tasks = (
            (slug, index, asdict(row) | {"output": text(row.output)})
            for (slug, index), row in self.tasks.items()
        )
        return snapshot(run, steps, tasks)

    def _complete(self, slug: str, task: TaskRow, output: Value) -> None:
        if child := self._waiting_for_an_array(slug, output):
            return self._violate(slug, task, child, output)
        task.status, task.output = "completed", output
        row = self.steps[slug]
        assert row.remaining_tasks
        row.remaining_tasks -= 1
        if row.remaining_tasks == 0:
            finish(self, slug, self._gathered(slug, output))
            release(self, [slug])
            advance(self)

    def _fail(self, slug: str, task: TaskRow, message: str, permanent: bool) -> None:
        task.error_message = message
        if not permanent and task.attempts_count < self.flow.attempts(slug):
            task.status = "queued"
            return
        task.status = "failed"
        policy = self.flow.step(slug).when_exhausted
        if policy == "fail":
            return fail_run(self, slug, message)
        force_skip(self, slug, "handler_failed", downstream=policy == "skip-cascade")
        self.steps[slug].error_message = message
        if policy == "skip":
            release(self, [slug])
        advance(self)

    def _gathered(self, slug: str, output: Value) -> Value:
        if self.flow.step(slug).kind == "single":
            return output
        tasks = [self.tasks[slug, index] for index in range(self.steps[slug].initial_tasks or 0)]
        return [None if task.output is ABSENT else task.output for task in tasks]

    def _waiting_for_an_array(self, slug: str, output: Value) -> str | None:
        if self.flow.step(slug).kind == "map" or isinstance(output, list):
            return None
        children = (child.slug for child in self.flow.children(slug) if child.kind == "map")
        return next((c for c in children if self.steps[c].initial_tasks is None), None)

    def _violate(self, slug: str, task: TaskRow, child: str, output: Value) -> None:
        produced = type_name(output)
        task.status, task.output = "failed", output
        task.error_message = f"[TYPE_VIOLATION] Produced {produced} instead of array"
        fail_run(
            self,
            slug,
            f"[TYPE_VIOLATION] Map step {child} expects array input "
            f"but dependency {slug} produced {produced}",
        )


def _first_row(step: StepDef, run_input: Json) -> StepRow:
    count = 1 if step.kind == "single" else None
    if step.kind == "map" and not step.dependencies and isinstance(run_input, list):
        count = len(run_input)
    return StepRow(remaining_deps=len(step.dependencies), initial_tasks=count)
