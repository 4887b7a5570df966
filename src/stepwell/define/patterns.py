"""Conditions of steps: JSON objects that the outputs before a step must, or must not, contain."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec

from stepwell.define.payload import encode
from stepwell.errors import DefinitionError, PayloadError

Pattern = dict[str, Any]
FLOW_INPUT = "flow_input"


def check_pattern(name: str, pattern: object, what: str) -> Pattern | None:
    """Answer with a copy of the pattern as plain JSON, or say why it is none."""
    if pattern is None:
        return None
    if not isinstance(pattern, Mapping):
        raise DefinitionError(
            f"{what}: {name} is of type {type(pattern).__name__}; it must be a dict, "
            'for example {"scrape": {"lang": "en"}}'
        )
    pattern = cast("Mapping[object, object]", pattern)
    if not pattern:
        raise DefinitionError(f"{what}: {name} is empty; leave it out, or say what to look for")
    for key in pattern:
        if not isinstance(key, str):
            raise DefinitionError(f"{what}: {name} has the key {key!r}; the keys must be text")
    try:
        return msgspec.json.decode(encode(pattern))
    except PayloadError as error:
        raise DefinitionError(f"{what}: {name} must be JSON: {error}") from error


def check_root_pattern(
    name: str, pattern: Pattern | None, steps: Collection[str], what: str
) -> None:
    """Refuse the pattern of a step without dependencies when it was written as if it had some.

    Such a pattern is matched against the flow input itself, so it would never be met.
    """
    for key in pattern or ():
        if key == FLOW_INPUT:
            raise DefinitionError(
                f"{what}: {name} is matched against the flow input itself, because the step "
                f"depends on no other; take its contents out of {FLOW_INPUT!r}"
            )
        if key in steps:
            raise DefinitionError(
                f"{what}: {name} names step {key!r}, but the step depends on no other, so it is "
                f"matched against the flow input; depend on {key!r}, by a parameter or a reference"
            )
