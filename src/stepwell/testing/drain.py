"""Claim, execute, commit, one task after the other, until nothing is ready."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

import psycopg

from stepwell.compile import deploy
from stepwell.compile.adopt import Adopted
from stepwell.db import claim, presence
from stepwell.db.claim import Task
from stepwell.db.commit import Entry, Turn, commit_and_claim, observed_turn, refused, take_turn
from stepwell.db.pool import Pool
from stepwell.define.app import Stepwell
from stepwell.define.outcome import Outcome
from stepwell.errors import NotFound
from stepwell.observe.emit import emit
from stepwell.observe.events import CommitFailed
from stepwell.observe.traces import Traces
from stepwell.settings import Settings
from stepwell.testing.tally import NeverQuiet, Tally, tally_of
from stepwell.worker.asking import Asking
from stepwell.worker.binding import Bindings
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.entry import entry_of
from stepwell.worker.execute import execute
from stepwell.worker.lanes import Lanes
from stepwell.worker.notes import Notes
from stepwell.worker.threads import Threads
from stepwell.worker.transactions import Prepare, Transactions
from stepwell.worker.turns import PASSING

THREADS = 10
CONTENDED = 0.02  # until work is looked for again that was in other hands just now
PATIENCE = 50


@dataclass(frozen=True, slots=True)
class Ran:
    task: Task
    entry: Entry
    written: bool = False  # with what the handler wrote


class Drain:
    """What a worker does, without its loops: nothing runs but in `run`."""

    def __init__(
        self, app: Stepwell, pool: Pool, settings: Settings, prepare: Prepare | None = None
    ) -> None:
        """`prepare`: for each connection that a transactional handler is lent."""
        self.worker_id = uuid4()
        self._app = app
        self._pool = pool
        self._adopted = Adopted()
        self._bindings = Bindings(app, self._adopted)
        self._threads = Threads(THREADS, lambda _token, _change: None)
        self._asking = Asking(settings)
        self._notes = Notes(
            pool.run, lines=settings.log_lines, size=settings.log_bytes, now=lambda: 0.0
        )
        self._traces = Traces(settings.traces)
        self._transactions = Transactions(settings, prepare=prepare)
        self.hands = Hands(
            self.worker_id,
            self._threads,
            self._asking,
            self._traces,
            transactions=self._transactions,
            max_payload=settings.max_payload,
            middleware=app.middleware,
        )

    async def __aenter__(self) -> Self:
        """Register: what is claimed is some worker's. Nothing beats, so there is no lease."""
        queues, _ = await deploy.lanes(self._pool, self._app)
        names = sorted(set(queues))
        where = (socket.gethostname(), os.getpid())
        call = presence.register_worker(self.worker_id, "testing kit", names, None, *where)
        await self._pool.run(call)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.close()
        await self._pool.run(presence.leave(self.worker_id))
        await self._asking.close()
        await self._transactions.close()

    def archived(self) -> list[str]:
        """The slugs of all that the app's archive gets."""
        return self._bindings.archived()

    async def run(self, so_far: Tally, max_steps: int, queue: str | None = None) -> Tally:
        """Run what is ready, and add it to a tally. What was begun when this is cut off goes back
        to its queue."""
        lanes = await self._lanes(queue)
        finished = False
        try:
            tally = await self._run(lanes, so_far, max_steps)
            finished = True
            return tally
        finally:
            if not finished:
                await self._give_back()

    async def _run(self, lanes: Lanes, tally: Tally, max_steps: int) -> Tally:
        ran: Ran | None = None
        fruitless = 0
        while True:
            turn = await self._turn(lanes, ran)
            if ran is not None:
                dropped = ran.entry.token in turn.stale
                tally += tally_of(ran.task, ran.entry, dropped=dropped)
            ran = None
            if turn.tasks:
                if tally.steps >= max_steps:
                    raise NeverQuiet(tally, max_steps)
                ran, fruitless = await self._ran(turn.tasks[0]), 0
            elif turn.contended and fruitless < PATIENCE:
                fruitless += 1
                await asyncio.sleep(CONTENDED)
            else:
                return tally

    async def _ran(self, task: Task) -> Ran:
        body = self._bindings.of(task)
        assert body is not None, f"no code for step {task.step_slug!r} of {task.flow_slug!r}"
        flow_input = task.flow_input if body.takes_input else None
        context = TaskContext(
            task, self.worker_id, self._asking, flow_input, body.input_type, notes=self._notes
        )
        outcome = await self._outcome(task, body, context)
        return Ran(task, entry_of(task, outcome), context.settled)

    async def _outcome(self, task: Task, body: Body, context: TaskContext) -> Outcome:
        """In a task of its own, so that a handler that cancels itself cancels nobody else."""
        running = asyncio.create_task(execute(task, body, context, self.hands))
        try:
            await asyncio.wait({running})
        finally:
            if not running.done():
                context.lose()
                running.cancel()
                await asyncio.wait({running}, timeout=1.0)  # one that swallows it goes on alone
        return running.result()

    async def _turn(self, lanes: Lanes, ran: Ran | None) -> Turn:
        """Commit what ran, if anything did, and claim one more."""
        if ran is None or ran.written:
            return await self._write(lanes, None)
        try:
            return await self._write(lanes, ran.entry)
        except psycopg.Error as error:
            if isinstance(error, psycopg.ProgrammingError) or passes(error):
                raise
            reason = (error.diag.message_primary or str(error)).strip()
            emit(CommitFailed(ran.entry.message_id, reason))
            return await self._write(lanes, refused(ran.entry, reason))

    async def _write(self, lanes: Lanes, entry: Entry | None) -> Turn:
        entries = [] if entry is None else [entry]
        take = observed_turn if self._traces.on else commit_and_claim
        call = take(self.worker_id, entries, lanes.queues, lanes.versions, 1)
        async with self._pool.connection() as conn:
            return await take_turn(conn, call)

    async def _lanes(self, queue: str | None) -> Lanes:
        queues, versions = await deploy.lanes(self._pool, self._app, adopted=self._adopted)
        if queue is None:
            return Lanes(queues, versions)
        if queue not in queues:
            known = ", ".join(sorted(set(queues)))
            raise NotFound(f"nothing of this app was ever in a queue {queue!r}; there are {known}")
        only = [version for each, version in zip(queues, versions, strict=True) if each == queue]
        return Lanes([queue] * len(only), only)

    async def _give_back(self) -> None:
        [beat] = await self._pool.run(presence.heartbeat(self.worker_id))
        await self._pool.run(claim.release_held(self.worker_id, beat.held))


def passes(error: psycopg.Error) -> bool:
    """The connection broke, or somebody was in the way: the outcome is not to blame."""
    return error.sqlstate is None or error.sqlstate.startswith(PASSING)
