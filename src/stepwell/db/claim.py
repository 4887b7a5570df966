"""A claimed task, and giving claims back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work under one claim. `input` and `flow_input` are JSON text: of a machine
    `input` is its state, of a job its arguments. `signals` and `children` are JSON text too: what
    woke it."""

    message_id: int
    claim_token: int
    run_id: UUID
    flow_slug: str
    version_id: int
    step_slug: str
    task_index: int
    attempt: int
    max_attempts: int
    timeout: int
    started_at: datetime
    input: str | None
    flow_input: str | None
    kind: str
    key: str | None
    crashes: int
    signals: str | None
    children: str | None
    version: int
    waited: float | None = None  # seconds that it was ready; known of observed turns
    trace: str | None = None  # JSON: what its run is part of
    labels: str | None = None  # JSON: the tags and the metadata of its run, if it has any


@dataclass(frozen=True, slots=True)
class Count:
    count: int


def claim_tasks(
    worker: UUID, queues: Sequence[str], versions: Sequence[int], want: int
) -> Call[Task]:
    return Call(
        "select * from pgflow.claim_tasks(worker => %s, lane_queues => %s::text[],"
        " lane_versions => %s::int[], want => %s::int)",
        (worker, list(queues), list(versions), want),
        Task,
    )


def release_tasks(message_ids: Sequence[int], tokens: Sequence[int]) -> Call[Count]:
    return Call(
        "select pgflow.release_tasks(message_ids => %s::bigint[], tokens => %s::bigint[]) as count",
        (list(message_ids), list(tokens)),
        Count,
    )


def release_held(worker: UUID, tokens: Sequence[int]) -> Call[Count]:
    """Give back claims of a worker by their tokens alone."""
    return Call(
        "select pgflow.release_held(worker => %s, tokens => %s::bigint[]) as count",
        (worker, list(tokens)),
        Count,
    )


def free_strays(worker: UUID, known: Sequence[int]) -> Call[Count]:
    """Free the slots of a worker's claims that are none of these tokens."""
    return Call(
        "select pgflow.free_strays(worker => %s, known => %s::bigint[]) as count",
        (worker, list(known)),
        Count,
    )


def refuse_tasks(
    worker: UUID, queues: Sequence[str], versions: Sequence[int], want: int
) -> Call[Count]:
    """After a claim that failed: end those of its tasks that cannot be told to anybody."""
    return Call(
        "select pgflow.refuse_tasks(worker => %s, lane_queues => %s::text[],"
        " lane_versions => %s::int[], want => %s::int) as count",
        (worker, list(queues), list(versions), want),
        Count,
    )
