"""What holds for every function that becomes a handler, whatever it is written for."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepwell.define.annotations import shown
from stepwell.define.fits import never_json
from stepwell.errors import DefinitionError

VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def is_async(function: Callable[..., Any]) -> bool:
    """True when it must be awaited; the others run in a thread."""
    called: Any = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def names_above() -> Mapping[str, Any]:
    """For a decorator: the names where it is used, so that annotations of local classes resolve."""
    return sys._getframe(2).f_locals  # pyright: ignore[reportPrivateUsage]


def check_no_generator(
    function: Any, what: str, instead: str = "return a list instead of yielding"
) -> None:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"{what}: a generator never runs by itself; {instead}")


def parameters_of(function: Any, what: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise DefinitionError(
            f"{what}: the parameters of {function!r} cannot be read; write a function around it"
        ) from error


def check_named(p: inspect.Parameter, what: str, instead: str, called: str = "handlers") -> None:
    """Handlers are called by name. Refuse `*rest` and `**rest`, with what to write `instead`, and
    what stands before a `/`."""
    if p.kind in VARIADIC:
        raise DefinitionError(f"{what}: {VARIADIC[p.kind]}{p.name} {instead}")
    if p.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise DefinitionError(
            f"{what}: parameter {p.name!r} is positional-only, but {called} are called by name; "
            "remove the '/'"
        )


def check_readable(name: str, wanted: Any, what: str) -> None:
    """Refuse a parameter that no value could ever reach."""
    if reason := never_json(wanted):
        raise DefinitionError(
            f"{what}: parameter {name!r} is {shown(wanted)}, and no JSON fits it: {reason}; "
            "change its annotation"
        )


def one_context(names: Sequence[str], what: str) -> str | None:
    """Which parameter is the context, of those that could be."""
    if len(names) > 1:
        raise DefinitionError(f"{what}: {' and '.join(names)} would both be the context; keep one")
    return names[0] if names else None
