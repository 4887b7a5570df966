"""Where each parameter of a handler gets its value: decided once, when the step is written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.define.annotations import Hints, element_of, is_context
from stepwell.define.compatible import never_fits
from stepwell.define.function import check_named, parameters_of
from stepwell.define.patterns import FLOW_INPUT
from stepwell.define.payload import decoder
from stepwell.define.slug import meant
from stepwell.define.step import Parameter, Source, Step
from stepwell.errors import DefinitionError, PayloadError

Steps = Mapping[str, Step[..., Any]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a handler is bound to: the steps above it, and what its decorator referred to."""

    what: str
    slug: str
    steps: Steps
    references: tuple[Step[..., Any], ...] = ()
    is_map: bool = False


def bind(handler: Any, hints: Hints, around: Surroundings) -> tuple[Parameter, ...]:
    """Plan the parameters in their order, or say which one can never get a value."""
    written = _named_parameters(handler, around.what)
    sources: dict[str, Source] = {p.name: _source(p, hints, around) for p in written}
    _check_once(sources, around.what)
    spare = [step for step in around.references if sources.get(step.slug) != "dependency"]
    plan: list[Parameter] = []
    for p in written:
        source = sources[p.name]
        if source == "dependency":
            step = around.steps[p.name] if p.name in around.steps else _taken(p.name, spare, around)
        else:
            step = around.references[0] if source == "element" and around.references else None
        plan.append(_planned(p, source, step, hints))
        _check_readable(plan[-1], around.what)
    return tuple(plan)


def takes_context(parameters: tuple[Parameter, ...]) -> bool:
    return any(parameter.source == "context" for parameter in parameters)


def _taken(name: str, spare: list[Step[..., Any]], around: Surroundings) -> Step[..., Any]:
    """The references go to the parameters that are named after no step, in their order."""
    if not spare:
        raise _nowhere(name, around)
    return spare.pop(0)


def _check_once(sources: Mapping[str, Source], what: str) -> None:
    for single in ("context", "element"):
        twice = [repr(name) for name, source in sources.items() if source == single]
        if len(twice) > 1:
            raise DefinitionError(
                f"{what}: the parameters {' and '.join(twice)} would both be the {single}; keep one"
            )


def _named_parameters(handler: Any, what: str) -> list[inspect.Parameter]:
    written = parameters_of(handler, what)
    for p in written:
        check_named(
            p,
            what,
            "says nothing about where values come from; name each step it needs as a parameter",
        )
    return written


def _source(p: inspect.Parameter, hints: Hints, around: Surroundings) -> Source:
    if p.name == "ctx" or is_context(hints.parameters.get(p.name)):
        return "context"
    if p.name == FLOW_INPUT:
        return "flow_input"
    if not around.is_map:
        return "dependency"
    if p.name in {step.slug for step in around.references}:
        raise DefinitionError(
            f"{around.what}: parameter {p.name!r} is named after the step that is mapped over, but "
            "a map step gets one element of it at a time; rename the parameter"
        )
    if p.name in around.steps:
        raise DefinitionError(
            f"{around.what}: parameter {p.name!r} is a step, and a map step can depend only on "
            "the step it maps over; rename the parameter, or use that output in a later step"
        )
    return "element"


def _nowhere(name: str, around: Surroundings) -> DefinitionError:
    if name == around.slug:
        return DefinitionError(
            f"{around.what}: it depends on itself, which is a cycle; rename parameter {name!r}"
        )
    return DefinitionError(
        f"{around.what}: parameter {name!r} is no earlier step"
        f"{meant(name, [*around.steps, FLOW_INPUT, 'ctx'])}; define it above, "
        f"or call the parameter {FLOW_INPUT!r} to get the flow's input"
    )


def _planned(
    p: inspect.Parameter, source: Source, step: Step[..., Any] | None, hints: Hints
) -> Parameter:
    unsaid: Any = Any
    if step:
        unsaid = _produced(source, step)
    depends = source == "dependency" and step is not None
    return Parameter(
        name=p.name,
        source=source,
        type=hints.parameters.get(p.name, unsaid),
        dependency=step.slug if step and depends else None,
        may_be_absent=bool(step and depends and step.may_be_absent),
        default=None if p.default is inspect.Parameter.empty else p.default,
    )


def check_elements(step: Step[..., Any], flow_input: Any, what: str) -> None:
    """Refuse a map over the flow's input whose handler can take no element of it."""
    for parameter in step.parameters:
        if parameter.source != "element":
            continue
        if misfit := never_fits(element_of(flow_input), parameter.type):
            raise DefinitionError(
                f"{what}: parameter {parameter.name!r} gets each element of the flow's input, but "
                f"{misfit}; change one of the two annotations"
            )


def _produced(source: Source, step: Step[..., Any]) -> Any:
    return element_of(step.output_type) if source == "element" else step.output_type


def check_types(parameters: Iterable[Parameter], around: Surroundings) -> None:
    """Refuse a parameter whose type no output of the step behind it can be read as."""
    for parameter in parameters:
        if parameter.dependency:
            step, part = around.steps[parameter.dependency], ""
        elif parameter.source == "element" and around.references:
            step, part = around.references[0], "each element of "
        else:
            continue
        if misfit := never_fits(_produced(parameter.source, step), parameter.type):
            raise DefinitionError(
                f"{around.what}: parameter {parameter.name!r} gets {part}what step {step.slug!r} "
                f"returns, but {misfit}; change one of the two annotations"
            )


def _check_readable(parameter: Parameter, what: str) -> None:
    if parameter.source == "context":
        return
    try:
        decoder(parameter.type)
    except PayloadError as error:
        if isinstance(error.__cause__, NameError):
            return  # a class that is written further down; it is there when the step runs
        raise DefinitionError(
            f"{what}: no value can reach parameter {parameter.name!r}: {error}; "
            "change its annotation"
        ) from error
