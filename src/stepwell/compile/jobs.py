"""Job to Shape."""

from __future__ import annotations

from typing import Any

from stepwell.compile.options import run_options_shape, step_options_shape
from stepwell.compile.shape import Shape, StepShape
from stepwell.define.job import Job
from stepwell.define.options import StepOptions
from stepwell.define.slug import JOB_STEP


def compile_job(job: Job[..., Any]) -> Shape:
    """Turn a job into plain data: it is one step."""
    options = step_options_shape(StepOptions(), job.options)
    return Shape(
        slug=job.slug,
        kind="job",
        version=job.version,
        options=run_options_shape(job.options),
        steps=(StepShape(slug=JOB_STEP, initial=True, options=options),),
    )
