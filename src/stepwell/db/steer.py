"""Steer runs: end one now, or let an ended one go on."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Steered:
    """`done` is False when the run was not in a state for it."""

    done: bool
    flow_slug: str


def cancel_run(run_id: UUID, reason: str | None = None) -> Call[Steered]:
    return Call(
        "select pgflow.cancel_run(run_id => %s, reason => %s) as done, '' as flow_slug",
        (run_id, reason),
        Steered,
    )


def retry_run(run_id: UUID) -> Call[Steered]:
    return Call(
        "select pgflow.retry_run(run_id => %s) as done,"
        " (select flow_slug from pgflow.get_runs(run_ids => array[%s])) as flow_slug",
        (run_id, run_id),
        Steered,
    )
