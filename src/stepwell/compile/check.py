"""Whether a shape can run at all; shapes made from data come with no other promise."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from stepwell.compile.shape import PatternShape, Shape, StepShape
from stepwell.define.limits import check_name
from stepwell.define.options import RunOptions, StepOptions, check_options
from stepwell.define.patterns import FLOW_INPUT, check_pattern
from stepwell.define.slug import FLOW_RESERVED, check_new, check_slug, meant
from stepwell.errors import DefinitionError


def check_shape(shape: Shape) -> Shape:
    """Answer with the same shape when every step of it can run, or say what stands in the way."""
    flow = f"flow {shape.slug!r}"
    check_slug(shape.slug, flow, FLOW_RESERVED)
    check_options(RunOptions(**_numbers(shape.options, RunOptions)), flow)
    if not shape.steps:
        raise DefinitionError(f"{flow}: it has no steps; declare one with @flow.step")
    slugs: list[str] = []
    for step in shape.steps:
        what = f"{flow}, step {step.slug!r}"
        check_slug(step.slug, what, FLOW_RESERVED)
        check_new(step.slug, slugs, what)
        slugs.append(step.slug)
    for step in shape.steps:
        _check_step(step, slugs, f"{flow}, step {step.slug!r}")
    _check_acyclic(shape, flow)
    _check_order(shape, flow)
    return shape


def _check_step(step: StepShape, slugs: list[str], what: str) -> None:
    check_options(StepOptions(**_numbers(step.options, StepOptions)), what)
    for slug in step.dependencies:
        if slug not in slugs:
            raise DefinitionError(
                f"{what}: it depends on {slug!r}, which is no step of the flow{meant(slug, slugs)};"
                " declare it, or drop the dependency"
            )
        if step.dependencies.count(slug) > 1:
            raise DefinitionError(f"{what}: {slug!r} is a dependency twice; name it once")
    if step.step_type == "map" and len(step.dependencies) > 1:
        raise DefinitionError(
            f"{what}: a map step can depend on one step only, and this one depends on "
            f"{', '.join(step.dependencies)}; join their lists in a step before it"
        )
    _check_signal(step, what)
    _check_pattern("requiredInputPattern", step.required_input_pattern, step, what)
    _check_pattern("forbiddenInputPattern", step.forbidden_input_pattern, step, what)


def _check_signal(step: StepShape, what: str) -> None:
    if step.step_type != "signal":
        if step.signal_name is not UNSET:
            raise DefinitionError(f"{what}: it has a signalName, but it is no signal step")
    elif step.signal_name is UNSET:
        raise DefinitionError(f"{what}: it is a signal step and has no signalName; name one")
    else:
        check_name(step.signal_name, f"{what}: signalName")


def _numbers(options: Struct, wanted: type[Any]) -> dict[str, Any]:
    """What is written in a shape as in the code; a backoff is checked by its type already."""
    said = msgspec.structs.asdict(options)
    plain = {name: said[name] for name in said if name in wanted.__dataclass_fields__}
    return {
        name: value
        for name, value in plain.items()
        if value is not UNSET and name not in ("backoff", "concurrency")
    }


def _check_pattern(name: str, pattern: PatternShape, step: StepShape, what: str) -> None:
    if pattern.defined != (pattern.value is not UNSET):
        raise DefinitionError(
            f"{what}: {name} must be defined and have a value, or neither; correct one of them"
        )
    if pattern.value is UNSET or not pattern.value:
        return
    check_pattern(name, pattern.value, what)
    known = (*step.dependencies, FLOW_INPUT)
    strange = [key for key in pattern.value if key not in known]
    if step.dependencies and strange:
        raise DefinitionError(
            f"{what}: {name} names {strange[0]!r}, on which the step does not depend"
            f"{meant(strange[0], known)}; its keys are {', '.join(known)}"
        )


def _check_acyclic(shape: Shape, flow: str) -> None:
    try:
        TopologicalSorter({step.slug: step.dependencies for step in shape.steps}).prepare()
    except CycleError as error:
        path = " -> ".join(error.args[1])
        raise DefinitionError(
            f"{flow}: its steps wait for each other in a circle, {path}; drop one dependency"
        ) from None


def _check_order(shape: Shape, flow: str) -> None:
    above: set[str] = set()
    for step in shape.steps:
        for slug in step.dependencies:
            if slug not in above:
                raise DefinitionError(
                    f"{flow}, step {step.slug!r}: it depends on {slug!r}, which comes after it; "
                    f"put {slug!r} first"
                )
        above.add(step.slug)
