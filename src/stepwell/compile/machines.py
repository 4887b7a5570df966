"""Machine to Shape."""

from __future__ import annotations

from stepwell.compile.options import run_options_shape, step_options_shape
from stepwell.compile.shape import Shape, StepShape
from stepwell.define.machine import Machine, machine_of


def compile_machine(cls: type[Machine]) -> Shape:
    """Turn a machine into plain data. Each step says all its options: versions may differ."""
    facts = machine_of(cls)
    return Shape(
        slug=facts.slug,
        kind="machine",
        version=facts.version,
        options=run_options_shape(facts.options),
        steps=tuple(
            StepShape(
                slug=slug,
                initial=slug == facts.initial,
                options=step_options_shape(step.options, facts.options, alone=True),
            )
            for slug, step in facts.steps.items()
        ),
    )
