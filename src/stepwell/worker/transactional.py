"""Transactional handlers: what one wrote commits with its outcome, or not at all.

The transaction begins when the handler does. What the handler returned commits with what it wrote,
in one transaction, guarded by the token of the claim; what it raised rolls it back, and is then
written like any other failure. Where Postgres rolled back for others' sake, or the connection
broke, the attempt is made again: that is no failure of the handler.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime

from stepwell.db.claim import Task
from stepwell.db.commit import ended_run
from stepwell.define.outcome import Failed, Outcome
from stepwell.observe.emit import emit
from stepwell.observe.events import AttemptRepeated, BatchCommitted
from stepwell.worker.answer import bounded
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.entry import entry_of
from stepwell.worker.failure import said_by
from stepwell.worker.guard import Handler
from stepwell.worker.spans import carrying, run_ended
from stepwell.worker.transaction import Transaction

REPEATS = 5
FIRST_PAUSE = 0.02


async def in_transaction(task: Task, body: Body, context: TaskContext, hands: Hands) -> Outcome:
    """An attempt of a transactional handler, again as long as it was others who ended it."""
    times = 0
    while True:
        ends = ended_run(task.run_id) if hands.observes() else None
        transaction = Transaction(
            hands.transactions, task.claim_token, last=times == REPEATS, ends=ends
        )
        context.transaction = transaction
        try:
            await transaction.prepare()
            answer = bounded(task, await body.attempt(task, context, hands), hands.max_payload)
            if transaction.returned and not isinstance(answer, Failed):
                await context.noted()  # while the claim is there to guard what it said
                entry, began = entry_of(task, carrying(answer)), time.perf_counter()
                answer = await transaction.commit(entry, left_of(context)) or answer
                if transaction.written:
                    emit(BatchCommitted(1, 0, 0, time.perf_counter() - began))
                    for run in transaction.ended:
                        emit(run_ended(run))
                    hands.transactions.written(transaction.ready, entry.delays)
        finally:
            await transaction.roll_back()
        error = transaction.passing
        left = left_of(context)
        if error is None or times == REPEATS or context.late or not left:
            return answer
        facts = (task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt)
        emit(AttemptRepeated(*facts, type(error).__name__, said_by(error).strip()))
        await asyncio.sleep(FIRST_PAUSE * 2**times * random.uniform(0.5, 1.5))
        context.timeout = left
        times += 1


def left_of(context: TaskContext) -> float:
    """Seconds of the handler's time."""
    return max(0.0, (context.deadline - datetime.now(UTC)).total_seconds())


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
