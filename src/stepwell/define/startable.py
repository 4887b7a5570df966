"""What a run can be started of: a machine with its state, a call of a job or of a flow."""

from __future__ import annotations

from typing import Any, cast

from stepwell.errors import DefinitionError


class Startable:
    """Marks the values that `client.start`, `client.enqueue` and `Spawn` take."""

    __slots__ = ()


def check_startable(value: object, what: str) -> None:
    """Refuse what no run can be started of, and say what was probably meant."""
    if isinstance(value, Startable):
        return
    if isinstance(value, type) and issubclass(value, Startable):
        remedy = f"give it its fields: {value.__name__}(...)"
    elif hasattr(cast("Any", value), "call"):
        remedy = "give it its input: .call(...)"
    else:
        remedy = "pass a machine with its fields, or what .call(...) of a job or a flow made"
    raise DefinitionError(f"{what}: no run can be started of {value!r}; {remedy}")
