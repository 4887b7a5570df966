"""Workers as people see them: who is there, how they are, and telling them to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from stepwell.db.call import Call

Health = Literal["healthy", "stale", "dead"]


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, of ours or foreign. It is `healthy` while it beats, `stale` when it missed some
    beats, `dead` when it missed too many or has stopped. `silent` is how many seconds ago it was
    heard of; `running` how many tasks it has in hand; `draining` says that it takes nothing new."""

    id: UUID
    name: str
    host: str | None
    pid: int | None
    queues: list[str]
    health: Health
    draining: bool
    running: int
    started_at: datetime
    last_heartbeat_at: datetime
    silent: float
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class Served:
    served: bool


@dataclass(frozen=True, slots=True)
class Drained:
    worker_id: UUID


def worker_health(stopped_within: timedelta = timedelta(), most: int = 1000) -> Call[WorkerInfo]:
    """Workers that have not stopped, or have within that time, newest first."""
    return Call(
        "select worker_id as id, name, host, pid, queues, health, draining, running, started_at,"
        " last_heartbeat_at, silent, stopped_at"
        " from pgflow.worker_health(stopped_within => %s::interval,"
        " most => %s::int)",
        (stopped_within, most),
        WorkerInfo,
    )


def is_served(queue: str) -> Call[Served]:
    return Call("select pgflow.is_served(queue => %s) as served", (queue,), Served)


def drain_workers(ids: Sequence[UUID], actor: str | None) -> Call[Drained]:
    """Answers with those that had not been told before."""
    return Call(
        "select * from pgflow.drain_workers(ids => %b::uuid[], actor => %s::text) as d (worker_id)",
        (list(ids), actor),
        Drained,
    )
