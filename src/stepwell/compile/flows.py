"""Flow to Shape."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from stepwell.compile.check import check_shape
from stepwell.compile.shape import (
    FlowOptionsShape,
    PatternShape,
    Shape,
    StepOptionsShape,
    StepShape,
)
from stepwell.define.flow import Flow
from stepwell.define.patterns import Pattern
from stepwell.define.step import Step


def compile_flow(flow: Flow[Any, Any]) -> Shape:
    """Turn a flow into plain data, checked; a flow without steps is a DefinitionError."""
    return check_shape(
        Shape(
            slug=flow.slug,
            options=FlowOptionsShape(**asdict(flow.options)),
            steps=tuple(_step(step) for step in flow.steps.values()),
        )
    )


def _step(step: Step[..., Any]) -> StepShape:
    said = {name: value for name, value in asdict(step.options).items() if value is not None}
    return StepShape(
        slug=step.slug,
        step_type=step.kind,
        dependencies=tuple(sorted(step.dependencies)),
        when_unmet=step.if_unmet,
        when_exhausted=step.if_exhausted,
        required_input_pattern=_pattern(step.when),
        forbidden_input_pattern=_pattern(step.unless),
        takes_input=step.takes_input,
        options=StepOptionsShape(**said),
    )


def _pattern(pattern: Pattern | None) -> PatternShape:
    return PatternShape() if pattern is None else PatternShape(defined=True, value=pattern)
