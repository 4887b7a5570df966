"""Sweeps that every worker runs: due timers, lost workers."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.db.call import Call


@dataclass(frozen=True, slots=True)
class Promoted:
    """Queues that have something to do now, and the seconds until the next timer (None: none)."""

    queues: list[str]
    promoted: int
    next_due: float | None


@dataclass(frozen=True, slots=True)
class Reclaimed:
    requeued: int
    failed: int


def promote_tasks(most: int = 1000) -> Call[Promoted]:
    return Call("select * from pgflow.promote_tasks(most => %s::int)", (most,), Promoted)


def reclaim_tasks() -> Call[Reclaimed]:
    return Call("select * from pgflow.reclaim_tasks()", (), Reclaimed)
