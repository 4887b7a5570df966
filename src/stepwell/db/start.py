"""Start runs. Run ids come from the caller, so that a repeated call starts nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Started:
    """One row per input, in the order given. `created` is False when the key or id was there."""

    position: int
    run_id: UUID
    created: bool


@dataclass(frozen=True, slots=True)
class Woken:
    queue: str


def start_runs(
    flow_slug: str,
    inputs: Sequence[str],
    run_ids: Sequence[UUID],
    keys: Sequence[str | None],
    version_id: int | None = None,
    options: Sequence[str | None] | None = None,
) -> Call[Started]:
    """Inputs are JSON text, and so are options (objects, as start.sql names them). Without
    `version_id` the runs have the current version of that flow, machine or job."""
    return Call(
        "select * from pgflow.start_runs(flow_slug => %s, inputs => %b::text[]::jsonb[],"
        " run_ids => %b::uuid[], keys => %b::text[], version_id => %s::int,"
        ' options => %b::text[]::jsonb[]) order by "position"',
        (
            flow_slug,
            list(inputs),
            list(run_ids),
            list(keys),
            version_id,
            None if options is None else list(options),
        ),
        Started,
    )


def wake_flows(flow_slugs: Sequence[str]) -> Call[Woken]:
    """Tell every worker that listens that these flows have something to do."""
    return Call(
        "select queue from pgflow.wake_flows(flow_slugs => %s::text[]) as w (queue)",
        (list(flow_slugs),),
        Woken,
    )


def wake_queues(queues: Sequence[str]) -> Call[Woken]:
    """Tell every worker that listens that these queues have something to do."""
    return Call(
        "select q as queue from unnest(%s::text[]) q, pg_notify('stepwell', q)",
        (list(queues),),
        Woken,
    )
