"""What a queue of messages may be called."""

from __future__ import annotations

from stepwell.define.payload import storable
from stepwell.errors import DefinitionError

LONGEST = 128
_REFUSED = ("$", ";", "--", "'")


def check_queue_name(name: object, what: str) -> str:
    """Answer with the name when pgmq takes it; `what` begins the message otherwise."""
    if not isinstance(name, str):
        raise DefinitionError(f"{what}: the name of a queue is text, not {type(name).__name__}")
    if not name.strip() or not storable(name):
        raise DefinitionError(f"{what}: {name!r} cannot be the name of a queue; give some text")
    if len(name) > LONGEST:
        raise DefinitionError(
            f"{what}: the name of the queue has {len(name)} characters; use at most {LONGEST}"
        )
    if found := [mark for mark in _REFUSED if mark in name]:
        raise DefinitionError(
            f"{what}: the name of a queue cannot have {found[0]} in it, and {name!r} has; "
            "use letters, digits and underscores"
        )
    return name
