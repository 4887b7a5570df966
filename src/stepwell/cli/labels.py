"""Names with values as they are typed: `customer.id=7`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.cli.exits import UsageError
from stepwell.define.payload import decoder
from stepwell.errors import PayloadError

Pairs = tuple[str, ...]


def pairs_of(typed: Iterable[str], option: str) -> dict[str, Any]:
    """What is JSON is meant as that, anything else as text."""
    found: dict[str, Any] = {}
    for pair in typed:
        name, sign, value = pair.partition("=")
        if not (name and sign):
            raise UsageError(f"--{option} is {pair!r}; write a name and a value: customer.id=7")
        try:
            found[name] = decoder(Any)(value)
        except PayloadError:
            found[name] = value
    return found
