"""What a flow or a step may be called."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches

from stepwell.errors import DefinitionError

_SLUG = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LONGEST = 128
FLOW_RESERVED = frozenset({"run"})
FIELD_RESERVED = frozenset({"decode", "on_error"})
MACHINE_RESERVED = frozenset({"run", "decode", "on_error"})
JOB_STEP = "perform"
STEP_RESERVED = frozenset({"run", "flow_input", "ctx"})


def check_slug(slug: object, what: str, reserved: Collection[str]) -> str:
    """Answer with the slug when the database takes it; `what` begins the message otherwise."""
    if not isinstance(slug, str):
        raise DefinitionError(f"{what}: a slug is text, not {type(slug).__name__}")
    if not _SLUG.fullmatch(slug):
        raise DefinitionError(
            f"{what}: {slug!r} is no slug; use letters, digits and underscores, "
            "and do not begin with a digit"
        )
    if len(slug) > _LONGEST:
        raise DefinitionError(
            f"{what}: the slug has {len(slug)} characters; use at most {_LONGEST}"
        )
    if slug in reserved:
        raise DefinitionError(f"{what}: {slug!r} is reserved; choose another slug")
    return slug


def check_new(slug: str, existing: Iterable[str], what: str) -> None:
    """Refuse a step slug that the flow has, also in other case: people would mix them up."""
    for other in existing:
        if other == slug:
            raise DefinitionError(f"{what}: the flow already has a step {slug!r}; rename one")
        if other.lower() == slug.lower():
            raise DefinitionError(
                f"{what}: differs from step {other!r} only in upper and lower case; rename one"
            )


def meant(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: what was probably meant, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
