"""What a step waits for: what its parameters, its decorator and its conditions name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from stepwell.define.annotations import may_be_array, shown
from stepwell.define.parameters import Steps, Surroundings
from stepwell.define.patterns import FLOW_INPUT, Pattern, check_root_pattern
from stepwell.define.slug import meant
from stepwell.define.step import Parameter, Step
from stepwell.errors import DefinitionError

Conditions = Mapping[str, Pattern | None]


def check_references(references: tuple[object, ...], steps: Steps, what: str) -> None:
    """Refuse references to anything but steps of this flow, each once."""
    seen: set[str] = set()
    for step in references:
        if not isinstance(step, Step):
            raise DefinitionError(
                f"{what}: a dependency is a step of this flow, not {step!r}; pass what the "
                "decorator returned, for example @flow.step(reserve)"
            )
        if steps.get(step.slug) is not step:
            raise DefinitionError(
                f"{what}: step {step.slug!r} belongs to flow {step.flow!r}, and a step can depend "
                "only on steps of its own flow; to use one handler twice, pass step.handler"
            )
        if step.slug in seen:
            raise DefinitionError(f"{what}: {step.slug!r} is a dependency twice; name it once")
        seen.add(step.slug)


def mapped_over(over: object, steps: Steps, what: str) -> Step[..., Any]:
    """The step that a map step takes its elements from; it must produce an array."""
    if isinstance(over, str):
        if over not in steps:
            raise DefinitionError(
                f"{what}: over={over!r} is no earlier step{meant(over, steps)}; define it above"
            )
        over = steps[over]
    if isinstance(over, list | tuple):
        raise DefinitionError(
            f"{what}: a map step can depend on one step only; join the lists in a step before it"
        )
    check_references((over,), steps, what)
    over = cast("Step[..., Any]", over)
    if not may_be_array(over.output_type):
        raise DefinitionError(
            f"{what}: it maps over {over.slug!r}, which returns {shown(over.returns)}; "
            f"let {over.slug!r} return a list"
        )
    return over


def dependencies_of(
    around: Surroundings, parameters: tuple[Parameter, ...], conditions: Conditions
) -> tuple[str, ...]:
    """The slugs a step waits for. A condition that names an earlier step waits for it too."""
    named = [p.dependency for p in parameters if p.dependency]
    slugs = list(dict.fromkeys([*named, *(step.slug for step in around.references)]))
    if not slugs:
        _check_root(around, conditions)
        return ()
    for name, pattern in conditions.items():
        for key in pattern or ():
            if key != FLOW_INPUT and key not in slugs:
                _check_named(key, name, around)
                slugs.append(key)
    return tuple(slugs)


def _check_root(around: Surroundings, conditions: Conditions) -> None:
    for name, pattern in conditions.items():
        check_root_pattern(name, pattern, around.steps, around.what)
        if pattern and around.is_map and name == "when":
            raise DefinitionError(
                f"{around.what}: the input of a map step without `over` is a list, so an object "
                "is never found in it; put the condition on a step before it"
            )


def _check_named(key: str, name: str, around: Surroundings) -> None:
    if key not in around.steps:
        raise DefinitionError(
            f"{around.what}: {name} names {key!r}, which is no earlier step"
            f"{meant(key, [*around.steps, FLOW_INPUT])}; its keys are the steps it depends on, "
            f"or {FLOW_INPUT!r}"
        )
    if around.is_map:
        raise DefinitionError(
            f"{around.what}: {name} names step {key!r}, but a map step can depend only on the "
            f"step it maps over; put the condition on {around.references[0].slug!r}"
        )
