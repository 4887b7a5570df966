"""Flow to Shape."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from stepwell.compile.check import check_shape
from stepwell.compile.options import run_options_shape, step_options_shape
from stepwell.compile.promise import check_promise
from stepwell.compile.shape import PatternShape, Shape, StepOptionsShape, StepShape
from stepwell.define.flow import Flow
from stepwell.define.options import RunOptions
from stepwell.define.patterns import Pattern
from stepwell.define.step import Step


def compile_flow(flow: Flow[Any, Any]) -> Shape:
    """Turn a flow into plain data, checked; a flow without steps is a DefinitionError, and
    so is one whose steps cannot make the output that it promises."""
    check_promise(flow)
    return check_shape(
        Shape(
            slug=flow.slug,
            options=run_options_shape(flow.options),
            steps=tuple(_step(step, flow.options) for step in flow.steps.values()),
        )
    )


def _step(step: Step[..., Any], around: RunOptions) -> StepShape:
    return StepShape(
        slug=step.slug,
        step_type=step.kind,
        dependencies=tuple(sorted(step.dependencies)),
        when_unmet=step.if_unmet,
        when_exhausted=step.if_exhausted,
        required_input_pattern=_pattern(step.when),
        forbidden_input_pattern=_pattern(step.unless),
        takes_input=step.takes_input,
        signal_name=UNSET if step.signal is None else step.signal,
        options=_options(step, around),
    )


def _options(step: Step[..., Any], around: RunOptions) -> StepOptionsShape:
    """A step that only waits is never held up by a limit."""
    waits = step.kind in ("signal", "sleep")
    return step_options_shape(step.options, RunOptions() if waits else around)


def _pattern(pattern: Pattern | None) -> PatternShape:
    return PatternShape() if pattern is None else PatternShape(defined=True, value=pattern)
