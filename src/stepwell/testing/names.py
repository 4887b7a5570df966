"""What a test may call a step by."""

from __future__ import annotations

from typing import Any

from stepwell.define.job import Job
from stepwell.define.machine import machine_of
from stepwell.define.queue_worker import QueueWorker
from stepwell.define.reference import MachineStep
from stepwell.define.slug import JOB_STEP
from stepwell.define.step import Step


def name_of(step: Any) -> str:
    """As tallies have it: "definition.step"."""
    match step:
        case str():
            return step
        case Step():
            return f"{step.flow}.{step.slug}"
        case Job():
            return f"{step.slug}.{JOB_STEP}"
        case QueueWorker():
            return f"{step.queue}.{step.__name__}"
        case MachineStep():
            owner = step.owner
            return step.slug if owner is None else f"{machine_of(owner).slug}.{step.slug}"
        case _:
            raise TypeError(
                f"{step!r} is no step; give its name, or the job, the step or the queue worker"
            )


def times_of(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
