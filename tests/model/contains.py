"""What `jsonb @> jsonb` answers, for a right side that is an object at its top."""

from __future__ import annotations

from .definition import Json, Pattern


def matches(subject: Json, pattern: Pattern) -> bool:
    """True when `subject @> pattern`."""
    return contains(subject, dict(pattern))


def contains(left: Json, right: Json) -> bool:
    if isinstance(right, dict):
        return isinstance(left, dict) and all(
            key in left and contains(left[key], value) for key, value in right.items()
        )
    if isinstance(right, list):
        return isinstance(left, list) and all(
            any(contains(have, wanted) for have in left) for wanted in right
        )
    return _same_scalar(left, right)


def _same_scalar(left: Json, right: Json) -> bool:
    if isinstance(left, dict | list):
        return False
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return left == right
