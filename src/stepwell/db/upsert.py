"""Flows made from data: put them in, take them out, and find those that a pattern means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stepwell.db.call import Call

Status = Literal["compiled", "recompiled", "verified"]


@dataclass(frozen=True, slots=True)
class Upserted:
    """The version that is current now; `before` is the structure that was, parsed."""

    status: Status
    version_id: int
    version: int
    before: list[dict[str, Any]] | None
    queue_before: str | None


@dataclass(frozen=True, slots=True)
class Exists:
    exists: bool


@dataclass(frozen=True, slots=True)
class MatchingVersion:
    """A version of a flow. `structure` is None where the caller knows it."""

    flow_slug: str
    version_id: int
    version: int
    queue: str
    kind: str
    structure: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Changed:
    changed: int


def upsert_flow(shape: str, replace: bool = False, actor: str | None = None) -> Call[Upserted]:
    """Make a shape (canonical JSON) the current version of its flow."""
    return Call(
        "select * from pgflow.upsert_flow(shape => %s::jsonb, replace => %s, actor => %s::text)",
        (shape, replace, actor),
        Upserted,
    )


def delete_flow(flow_slug: str, actor: str | None = None) -> Call[Exists]:
    """Delete a definition with every run of it. It answers whether there was one."""
    return Call(
        'select pgflow.delete_flow(flow_slug => %s, actor => %s::text) as "exists"',
        (flow_slug, actor),
        Exists,
    )


def flow_exists(flow_slug: str) -> Call[Exists]:
    return Call('select pgflow.flow_exists(flow_slug => %s) as "exists"', (flow_slug,), Exists)


def versions_like(
    patterns: Sequence[str], known: Sequence[int], steps: Sequence[int]
) -> Call[MatchingVersion]:
    """All versions of the flows whose slugs match one of these regular expressions. `known` and
    `steps` are parallel: versions, and how many steps each was seen with; -1: whatever it has."""
    return Call(
        "select * from pgflow.versions_like(patterns => %s::text[], known => %s::int[],"
        " steps => %s::int[])",
        (list(patterns), list(known), list(steps)),
        MatchingVersion,
    )


def want_inputs(versions: Sequence[int], step_slugs: Sequence[str]) -> Call[Changed]:
    """Hand the flow's input to these steps of these versions, which are parallel lists."""
    return Call(
        "select pgflow.want_inputs(versions => %s::int[], step_slugs => %s::text[]) as changed",
        (list(versions), list(step_slugs)),
        Changed,
    )
