"""Workers: register, beat, leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Nothing:
    """The row of a function that answers nothing."""

    done: str | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat learns. `held` are the claim tokens that are still the worker's own."""

    alive: bool
    draining: bool
    held: list[int]


def register_worker(
    worker: UUID, name: str, queues: Sequence[str], lease: float | None, host: str, pid: int
) -> Call[Nothing]:
    """Without a lease it never lapses, and the timeouts of its steps alone bound what it holds."""
    return Call(
        "select pgflow.register_worker(id => %s, name => %s, queues => %s::text[],"
        " lease => %s, host => %s, pid => %s)::text as done",
        (worker, name, list(queues), lease, host, pid),
        Nothing,
    )


def heartbeat(worker: UUID) -> Call[Beat]:
    return Call("select * from pgflow.heartbeat(id => %s)", (worker,), Beat)


def leave(worker: UUID) -> Call[Nothing]:
    return Call("select pgflow.leave(id => %s)::text as done", (worker,), Nothing)


def serve_lanes(
    worker: UUID,
    queues: Sequence[str],
    lane_queues: Sequence[str],
    lane_versions: Sequence[int],
    concurrency: int,
    clock: datetime,
) -> Call[Nothing]:
    """Say what the worker serves by now, and how it is set up. `clock` is what its clock says."""
    return Call(
        "select pgflow.serve_lanes(id => %s, queues => %s::text[], lane_queues => %s::text[],"
        " lane_versions => %s::int[], concurrency => %s::int, clock => %s::timestamptz)::text"
        " as done",
        (worker, list(queues), list(lane_queues), list(lane_versions), concurrency, clock),
        Nothing,
    )
