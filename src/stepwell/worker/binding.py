"""What runs for each task, found beforehand: the definitions of an app, ready to be called."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

from stepwell.compile.adopt import Adopted
from stepwell.db.claim import Task
from stepwell.define.app import Stepwell
from stepwell.define.definition import AnyFlow
from stepwell.define.handler import PatternHandler
from stepwell.define.job import Job
from stepwell.define.limited import Limits
from stepwell.define.machine import MachineDef
from stepwell.define.reference import MachineStep
from stepwell.define.slug import JOB_STEP
from stepwell.define.step import Step
from stepwell.worker.body import Body
from stepwell.worker.flow_step import FlowStep, Wait
from stepwell.worker.job_call import JobCall
from stepwell.worker.machine_step import MachineBody, UnknownStep
from stepwell.worker.process_body import ProcessBody
from stepwell.worker.process_wire import Bound


class Bindings:
    """A body for each step of each flow, for each step of each version of each machine, and for
    each job; those of flows that handlers adopted are made when they are first needed."""

    def __init__(self, app: Stepwell, adopted: Adopted | None = None) -> None:
        self.queues = app.queues
        self.middleware = app.middleware
        self.archive = app.archive_hook
        self._app = app
        self._adopted = adopted or Adopted()
        self._limits = app.known_limits
        self._bodies: WeakKeyDictionary[AnyFlow, dict[str, Body]] = WeakKeyDictionary()
        self.renew()

    def renew(self) -> None:
        """Definitions were registered, or are no more."""
        registry, limits = self._app.registry, self._limits
        self._steps: dict[tuple[str, str], Body] = {
            (flow.slug, step.slug): body_of(flow, step, limits)
            for flow in registry.flows.values()
            for step in flow.steps.values()
        }
        self._machines: dict[tuple[str, int], dict[str, Body]] = {
            name: {slug: step_of(machine, step, limits) for slug, step in machine.steps.items()}
            for name, machine in registry.machines.items()
        }
        self._unknown: dict[tuple[str, int], Body] = {
            name: UnknownStep(machine) for name, machine in registry.machines.items()
        }
        self._jobs: dict[str, Body] = {slug: call_of(job) for slug, job in registry.jobs.items()}

    def served(self, slugs: Collection[str]) -> tuple[str, ...]:
        """Of what there is code for, what came up: some of these slugs, and handlers' patterns."""
        known = [slug for slug in self._app.registry.slugs if slug in slugs]
        return (*known, *(each.pattern for each in self._app.handlers))

    def steps(self) -> list[tuple[str, str, str]]:
        """The kind, the definition and the step of all that runs tasks here."""
        return [
            *(("flow", *name) for name in self._steps),
            *(
                ("machine", slug, step)
                for (slug, _), steps in self._machines.items()
                for step in steps
            ),
            *(("job", slug, JOB_STEP) for slug in self._jobs),
        ]

    def archived(self) -> list[str]:
        """The slugs of all that this code serves, whose runs its archive gets."""
        return sorted({*self._app.registry.slugs, *self._adopted.slugs})

    def of(self, task: Task) -> Body | None:
        """What runs for a task. None: this code has nothing for it, and must give it back. A
        machine's version has all its steps, so a step that is missing there is somewhere for good.
        """
        if task.kind == "machine":
            name = (task.flow_slug, task.version)
            steps = self._machines.get(name, {})
            return steps.get(task.step_slug) or self._unknown.get(name)
        if task.kind == "job":
            return self._jobs.get(task.flow_slug)
        if (flow := self._adopted.flow(task.version_id)) is not None:
            handler = self._adopted.handler(task.version_id)
            return self._of_adopted(flow, handler).get(task.step_slug)
        return self._steps.get((task.flow_slug, task.step_slug))

    def _of_adopted(self, flow: AnyFlow, handler: PatternHandler | None) -> dict[str, Body]:
        if flow not in self._bodies:
            self._bodies[flow] = {
                slug: body_of(flow, step, self._limits, handler)
                for slug, step in flow.steps.items()
            }
        return self._bodies[flow]


def body_of(
    flow: AnyFlow, step: Step[..., Any], limits: Limits, handler: PatternHandler | None = None
) -> Body:
    if step.kind in ("signal", "sleep"):
        return Wait(step)
    body = FlowStep(flow, step, limits)
    if not step.process:
        return body
    if handler is None:
        return ProcessBody(flow, body)
    return ProcessBody(handler, body, Bound(handler.pattern, step.kind, step.dependencies))


def step_of(machine: MachineDef, step: MachineStep[Any, Any, Any], limits: Limits) -> Body:
    body = MachineBody(machine, step, limits)
    return ProcessBody(machine.cls, body) if step.process else body


def call_of(job: Job[..., Any, ...]) -> Body:
    body = JobCall(job)
    return ProcessBody(job, body) if job.process else body
