"""Definitions: the version that has a given shape, and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Ensured:
    """The version that has the shape; `created` when there was none before."""

    version_id: int
    version: int
    status: Literal["created", "verified"]


def ensure_flow(shape: str, *, make_current: bool = True) -> Call[Ensured]:
    """Find or make the version of a shape (canonical JSON)."""
    return Call(
        "select * from pgflow.ensure_flow(shape => %s::jsonb, make_current => %s)",
        (shape, make_current),
        Ensured,
    )


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing comes back."""

    ensure_limits: None


def ensure_limits(limits: str) -> Call[Done]:
    """Make the limits (a JSON list) what the database goes by."""
    return Call("select pgflow.ensure_limits(limits => %s::jsonb)", (limits,), Done)
