"""Sweeps that every worker runs: due timers, lost workers, and what no wake-up reached."""

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
    """`queues` have something to do, because slots of lost workers are free."""

    requeued: int
    failed: int
    queues: list[str]


@dataclass(frozen=True, slots=True)
class Stuck:
    """Queues to tell, and the gate to go on behind (None: that was the last)."""

    last_gate: str | None
    queues: list[str]


@dataclass(frozen=True, slots=True)
class Orphans:
    cancelled: int


@dataclass(frozen=True, slots=True)
class Forgotten:
    done: str | None


def promote_tasks(most: int = 1000) -> Call[Promoted]:
    return Call("select * from pgflow.promote_tasks(most => %s::int)", (most,), Promoted)


def reclaim_tasks() -> Call[Reclaimed]:
    return Call("select * from pgflow.reclaim_tasks()", (), Reclaimed)


def wake_stuck(after: str, most: int = 200) -> Call[Stuck]:
    """Gates that have room, and somebody who waits: the floor below all wake-ups."""
    return Call(
        "select * from pgflow.wake_stuck(after => %s::text, most => %s::int)", (after, most), Stuck
    )


def end_orphans(most: int = 100) -> Call[Orphans]:
    """Cancel the children that were to end with their parent."""
    return Call("select pgflow.end_orphans(most => %s::int) as cancelled", (most,), Orphans)


def forget_shares() -> Call[Forgotten]:
    """Drop what fair queues need not remember."""
    return Call("select pgflow.forget_shares()::text as done", (), Forgotten)
