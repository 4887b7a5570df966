"""Handlers are called by name, so each of their parameters needs one."""

from __future__ import annotations

import inspect

from stepwell.errors import DefinitionError

VARIADIC = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def check_named(p: inspect.Parameter, what: str, instead: str, called: str = "handlers") -> None:
    """Refuse `*rest` and `**rest`, with what to write `instead`, and what stands before a `/`."""
    if p.kind in VARIADIC:
        raise DefinitionError(f"{what}: {VARIADIC[p.kind]}{p.name} {instead}")
    if p.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise DefinitionError(
            f"{what}: parameter {p.name!r} is positional-only, but {called} are called by name; "
            "remove the '/'"
        )
