"""Transactional handlers: what one wrote commits with its outcome, or not at all.

The transaction begins when the handler does. What the handler returned commits with what it wrote,
in one transaction, guarded by the token of the claim; what it raised rolls it back, and is then
written like any other failure. Where Postgres rolled back for others' sake, or the connection
broke, the attempt is made again: that is no failure of the handler.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.db.commit import Entry, RunEnd, ended_run
from stepwell.db.presence import heartbeat
from stepwell.db.transaction import Trunk, commit_transactional
from stepwell.define.outcome import Failed, Outcome
from stepwell.observe.emit import emit
from stepwell.observe.events import AttemptRepeated, BatchCommitted
from stepwell.worker.answer import bounded
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.entry import entry_of
from stepwell.worker.guard import Handler
from stepwell.worker.repeats import left_of, repeating
from stepwell.worker.spans import carrying, run_ended
from stepwell.worker.transaction import Transaction
from stepwell.worker.transactions import Transactions


async def in_transaction(task: Task, body: Body, context: TaskContext, hands: Hands) -> Outcome:
    """An attempt of a transactional handler."""

    async def tried(transaction: Transaction) -> Outcome:
        answer = bounded(task, await body.attempt(task, context, hands), hands.max_payload)
        if not transaction.returned or isinstance(answer, Failed):
            return answer
        await context.noted()  # while the claim is there to guard what it said
        entry = entry_of(task, carrying(answer))
        end = TaskEnd(task, entry, hands.worker_id, observed=hands.observes())
        began = time.perf_counter()
        answer = await transaction.commit(end, left_of(context)) or answer
        if transaction.written:
            emit(BatchCommitted(1, 0, 0, time.perf_counter() - began))
            for run in end.ended:
                emit(run_ended(run))
            hands.transactions.written(end.ready, entry.delays)
        return answer

    facts = (task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt)
    return await repeating(context, hands.transactions, tried, partial(_repeated, facts))


def _repeated(facts: tuple[UUID, str, str, int, int], error_type: str, message: str) -> None:
    emit(AttemptRepeated(*facts, error_type, message))


class TaskEnd:
    """The outcome of a task, and what came of it: `ended` is the run, if the outcome ended it and
    somebody observes; `ready` are the queues where work became ready."""

    def __init__(self, task: Task, entry: Entry, worker: UUID, *, observed: bool) -> None:
        self.ended: Sequence[RunEnd] = ()
        self.ready: Sequence[str] = ()
        self._task = task
        self._entry = entry
        self._worker = worker
        self._observed = observed

    async def write(self, trunk: Trunk) -> bool:
        entry = self._entry
        written = commit_transactional(
            self._worker,
            entry.message_id,
            entry.token,
            entry.outcome,
            entry.output,
            entry.error_type,
            entry.error_message,
            entry.traceback,
        )
        rows = await written.on(trunk)
        if any(row.verdict == "stale" for row in rows):
            return False
        self.ready = [row.queue for row in rows if row.queue is not None]
        if self._observed:
            self.ended = await ended_run(self._task.run_id).on(trunk)
        return True

    async def held(self, pool: Transactions) -> bool:
        [beat] = await pool.ask(heartbeat(self._worker))
        return self._entry.token in beat.held


def within(handler: Handler, context: TaskContext) -> Handler:
    """The handler, to be called inside the transaction of its attempt, if that has one."""
    return handler if context.transaction is None else context.transaction.around(handler, context)


async def undone(context: TaskContext) -> bool:
    """Roll back what a handler wrote that raised, before anything is made of its error. True when
    it was not to blame, and runs again."""
    if context.transaction is None:
        return False
    await context.transaction.roll_back()
    return context.transaction.repeats
