"""What one worker has before it: handlers that run, outcomes to write, room for more."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace

from stepwell.db.claim import Task
from stepwell.db.commit import Entry, lingering, released
from stepwell.worker.context import TaskContext


@dataclass(frozen=True, slots=True)
class Running:
    """A handler under way."""

    task: Task
    context: TaskContext
    body: asyncio.Task[None]

    def cancel(self) -> None:
        """Ask it to stop: an async handler is cancelled, a sync one can look at its context."""
        self.context.lose()
        self.body.cancel()


@dataclass(frozen=True, slots=True)
class Ended:
    """An outcome that is not written yet."""

    task: Task
    entry: Entry
    held: bool = False  # somebody held its run when we tried to write it


class Desk:
    """The one place that knows which claims are in whose hands. Only the event loop touches it."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.running: dict[int, Running] = {}  # by claim token
        self.ended: deque[Ended] = deque()
        self.aside: dict[int, Ended] = {}  # outcomes whose run somebody holds, tried again later
        self.writing: set[int] = set()  # tokens of the outcomes in a turn under way
        self.coming = 0  # tasks that turns under way asked for
        self.lost: dict[int, Task] = {}  # claims that are over, while a body goes on
        self.lingering: Counter[int] = Counter()  # threads whose handler was given up, by token
        self.closing = False
        self.leased_until = 0.0  # by the monotonic clock; past it our claims would not be ours
        self.look = True  # there may be something to claim
        self.waiting_for: Set[str] = frozenset()  # slugs of which nothing is claimed: at their cap
        self.changed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more tasks fit."""
        taken = len(self.running) + self.coming + self.lingering.total()
        stale = self.closing or time.monotonic() > self.leased_until
        return 0 if stale else max(0, self.concurrency - taken)

    @property
    def empty(self) -> bool:
        return not (self.running or self.ended or self.writing or self.aside)

    @property
    def known(self) -> set[int]:
        """Every token that is in some hand here."""
        waiting = {e.task.claim_token for e in self.ended}
        return self.running.keys() | waiting | self.writing | self.aside.keys()

    def end(self, task: Task, entry: Entry | None) -> bool:
        """A handler ended; its place is free, its outcome, if any, goes into the next turn. False
        when its claim was taken away meanwhile: then the outcome is nobody's."""
        self.running.pop(task.claim_token, None)
        # an outcome that is here makes us look anyway; one that committed with its writes does not
        self.look = self.look or task.flow_slug in self.waiting_for
        ours = task.claim_token not in self.lost
        if ours and entry is not None:
            if self.lingering[task.claim_token]:
                self.lost[task.claim_token] = task
                entry = lingering(entry)
            self.ended.append(Ended(task, entry))
        self._let_go(task.claim_token)
        self.changed.set()
        return ours

    def _let_go(self, token: int) -> None:
        """The slots of a claim that is over are free once nothing runs under it."""
        if token in self.lost and token not in self.running and not self.lingering[token]:
            task = self.lost.pop(token)
            self.ended.append(Ended(task, released(task.message_id, token)))
            self.changed.set()

    def put_aside(self, ended: Ended, seconds: float) -> None:
        """Its run is held by another transaction; others need not wait for that."""
        self.aside[ended.task.claim_token] = replace(ended, held=True)
        asyncio.get_running_loop().call_later(seconds, self._take_up, ended.task.claim_token)

    def _take_up(self, token: int) -> None:
        if ended := self.aside.pop(token, None):
            self.ended.append(ended)
            self.changed.set()

    def linger(self, token: int, change: int) -> None:
        """A given-up handler goes on in its thread (+1), or ended at last (-1)."""
        self.lingering[token] += change
        if not self.lingering[token]:
            del self.lingering[token]
        self._let_go(token)
        self.changed.set()

    def wake(self) -> None:
        """There may be work in the database."""
        self.look = True
        self.changed.set()

    def lease(self, until: float) -> None:
        """The database heard of us."""
        late = time.monotonic() > self.leased_until
        self.leased_until = until
        if late:
            self.changed.set()

    def close(self) -> None:
        """Take on nothing more."""
        self.closing = True
        self.changed.set()

    def drop(self, tokens: Iterable[int]) -> int:
        """These claims are no longer ours: stop their handlers, forget their outcomes. Each is
        asked to stop once, so that it can clean up."""
        gone = [self.running[t] for t in tokens if t in self.running and t not in self.lost]
        for running in gone:
            self.lost[running.task.claim_token] = running.task
            running.cancel()
        return len(gone)
