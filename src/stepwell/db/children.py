"""The runs that a run started, as its handlers see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class ChildRow:
    """One child. `output` is JSON text, and None until it completed."""

    run_id: UUID
    flow_slug: str
    kind: str
    status: str
    output: str | None
    error_message: str | None
    key: str | None
    started_at: datetime
    ended_at: datetime | None


def children_of(run_id: UUID, most: int) -> Call[ChildRow]:
    """The newest children, oldest of them first."""
    return Call(
        "select run_id, flow_slug, kind, status, output::text, error_message, key, started_at,"
        " ended_at from pgflow.children_of(run_id => %s, most => %s::int)",
        (run_id, most),
        ChildRow,
    )


def joined_by(message_id: int, most: int) -> Call[ChildRow]:
    """The children of the last Spawn of a task, in the order in which it gave them."""
    return Call(
        "select run_id, flow_slug, kind, status, output::text, error_message, key, started_at,"
        " ended_at from pgflow.joined_by(message_id => %s::bigint, most => %s::int)",
        (message_id, most),
        ChildRow,
    )
