"""What the parameters of a handler get in a flow that is known only when it is served."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stepwell.define.annotations import hints_of, is_context
from stepwell.define.function import (
    check_named,
    check_no_generator,
    check_readable,
    one_context,
    parameters_of,
)
from stepwell.define.patterns import FLOW_INPUT
from stepwell.define.step import Parameter, Source
from stepwell.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class Written:
    """A parameter as it is written. `source` is None where only the flow can tell."""

    name: str
    source: Source | None
    type: Any
    default: Any
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Function:
    """A handler that was read once, to serve steps of many flows."""

    handler: Callable[..., Any]
    parameters: tuple[Written, ...]
    returns: Any


def read_function(function: Any, names: Mapping[str, Any], what: str) -> Function:
    """Check all that can be checked before there is a flow."""
    if not callable(function) or inspect.isclass(function):
        raise DefinitionError(f"{what}: {function!r} is no function")
    check_no_generator(function, what)
    written = parameters_of(function, what)
    hints = hints_of(function, names)
    parameters = tuple(_written(p, hints.parameters.get(p.name, Any), what) for p in written)
    contexts = [p.name for p in parameters if p.source == "context"]
    one_context(contexts, what)
    return Function(function, parameters, hints.output)


def parameters_for(
    function: Function, dependencies: Collection[str], what: str, *, is_map: bool
) -> tuple[Parameter, ...]:
    """What each parameter gets in one step; DefinitionError when one would get nothing. One that
    gets nothing and has a default keeps it."""
    plan: list[Parameter] = []
    has_whole = False
    for p in function.parameters:
        if p.source is not None:
            plan.append(Parameter(p.name, p.source, p.type))
        elif p.name in dependencies and not is_map:
            plan.append(Parameter(p.name, "dependency", p.type, p.name, True, p.default))
        elif not has_whole:
            plan.append(Parameter(p.name, _whole(dependencies, is_map), p.type))
            has_whole = True
        elif not p.is_optional:
            raise DefinitionError(
                f"{what}: parameter {p.name!r} is no step that it depends on "
                f"({', '.join(dependencies) or 'it depends on none'}), and another parameter has "
                "its input already; remove it, or name it after a step"
            )
    return tuple(plan)


def _whole(dependencies: Collection[str], is_map: bool) -> Source:
    """What pgflow hands to a step: an element, the outputs by slug, or the flow's input."""
    if is_map:
        return "element"
    return "outputs" if dependencies else "flow_input"


def _written(p: inspect.Parameter, wanted: Any, what: str) -> Written:
    check_named(
        p,
        what,
        "says nothing about where values come from; take the outputs of all steps before it as one "
        "parameter",
    )
    source: Source | None = None
    if p.name == "ctx" or is_context(wanted):
        source = "context"
    elif p.name == FLOW_INPUT:
        source = "flow_input"
    if source != "context":
        check_readable(p.name, wanted, what)
    is_optional = p.default is not inspect.Parameter.empty
    return Written(p.name, source, wanted, p.default if is_optional else None, is_optional)
