"""A step out of what its decorator was given. All that can be checked before it runs is checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from stepwell.define.annotations import hints_of, may_be_array, shown
from stepwell.define.choices import (
    IfExhausted,
    IfUnmet,
    StepChoices,
    check_choice,
    check_known,
    process_of,
    transactional_of,
)
from stepwell.define.dependencies import check_references, dependencies_of, mapped_over
from stepwell.define.function import check_no_generator
from stepwell.define.options import StepOptions, step_options
from stepwell.define.parameters import (
    Surroundings,
    bind,
    check_elements,
    check_types,
    takes_context,
)
from stepwell.define.patterns import FLOW_INPUT, check_pattern
from stepwell.define.slug import STEP_RESERVED, check_new, check_slug
from stepwell.define.step import Step
from stepwell.errors import DefinitionError

AnyStep = Step[..., Any]
Steps = Mapping[str, AnyStep]
_CONDITIONS = ("when", "unless")
_POLICIES = {"if_unmet": IfUnmet, "if_exhausted": IfExhausted}


def declared(
    flow: str,
    steps: Steps,
    handler: Any,
    names: Mapping[str, Any],
    choices: Mapping[str, Any],
    references: tuple[Any, ...],
    is_map: bool,
) -> AnyStep:
    """A step that calls a handler; `steps` are those above it, `references` what it was told to run
    after."""
    slug = choices.get("slug")
    slug = _name_of(handler, flow) if slug is None else slug
    what = f"flow {flow!r}, step {slug!r}"
    check_known(choices, StepChoices, what)
    check_slug(slug, what, STEP_RESERVED)
    check_new(slug, steps, what)
    _check_handler(handler, what)
    if is_map:
        references = tuple(mapped_over(over, steps, what) for over in references)
    hints = hints_of(handler, names)
    around = Surroundings(what, slug, steps, references, is_map)
    parameters = bind(handler, hints, around)
    conditions = {name: check_pattern(name, choices.get(name), what) for name in _CONDITIONS}
    step = Step[..., Any](
        flow=flow,
        slug=slug,
        kind="map" if is_map else "single",
        handler=handler,
        dependencies=dependencies_of(around, parameters, conditions),
        parameters=parameters,
        options=step_options(choices, what),
        returns=hints.output,
        transactional=transactional_of(choices, what, has_context=takes_context(parameters)),
        process=process_of(choices, what),
        unknown=hints.unknown,
        **conditions,
        **_policies(choices, what),
    )
    check_types(parameters, around)
    return step


def waiting(
    flow: str,
    steps: Steps,
    kind: Literal["signal", "sleep"],
    slug: str,
    after: AnyStep | Iterable[AnyStep],
    options: StepOptions,
    signal: str | None = None,
    if_exhausted: IfExhausted = "fail",
) -> Step[[], Any]:
    """A step without a handler."""
    what = f"flow {flow!r}, step {slug!r}"
    check_slug(slug, what, STEP_RESERVED)
    check_new(slug, steps, what)
    references = (after,) if isinstance(after, Step) else tuple(after)
    check_references(references, steps, what)
    check_choice("if_exhausted", if_exhausted, IfExhausted, what)
    return Step[[], Any](
        flow=flow,
        slug=slug,
        kind=kind,
        handler=nothing,
        dependencies=tuple(step.slug for step in references),
        options=options,
        if_exhausted=if_exhausted,
        returns=Any if kind == "signal" else None,
        signal=signal,
    )


def agreed_input(known: Any, step: AnyStep, steps: Steps) -> Any:
    """The type of the flow's input once the step is one of its steps, too."""
    annotation = next((p.type for p in step.parameters if p.source == FLOW_INPUT), Any)
    if annotation is not Any and known is not Any and annotation != known:
        raise DefinitionError(
            f"flow {step.flow!r}, step {step.slug!r}: flow_input is {shown(annotation)} here and "
            f"{shown(known)} before; a flow has one input, so give it one type"
        )
    agreed = annotation if known is Any else known
    roots = root_maps([*steps.values(), step])
    if roots and not may_be_array(agreed):
        raise DefinitionError(
            f"flow {step.flow!r}, step {step.slug!r}: the flow's input is {shown(agreed)}, but map "
            f"step {roots[0].slug!r} maps over it; make the input a list, or map over a step that "
            "returns one"
        )
    for root in roots:
        check_elements(root, agreed, f"flow {step.flow!r}, step {root.slug!r}")
    return agreed


def root_maps(steps: Iterable[AnyStep]) -> list[AnyStep]:
    """Those that map over the flow's input."""
    return [step for step in steps if step.kind == "map" and not step.dependencies]


def nothing() -> None:
    """What a step without a handler does."""


def _name_of(handler: Any, flow: str) -> str:
    name = getattr(handler, "__name__", None)
    if name is None or name == "<lambda>":
        raise DefinitionError(
            f"flow {flow!r}: {handler!r} has no name to be a slug; give it one: "
            "@flow.step(slug=...)"
        )
    return name


def _check_handler(handler: Any, what: str) -> None:
    if isinstance(handler, Step) or not callable(handler):
        raise DefinitionError(
            f"{what}: the handler is {handler!r}; decorate a function (for a step of another "
            "flow, its step.handler)"
        )
    check_no_generator(handler, what)


def _policies(choices: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    policies = {name: choices[name] for name in _POLICIES if name in choices}
    for name, choice in policies.items():
        check_choice(name, choice, _POLICIES[name], what)
    return policies
