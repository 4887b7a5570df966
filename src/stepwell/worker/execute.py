"""EXECUTE: run one task and say how it ended. Whatever its handler does, this returns."""

from __future__ import annotations

import time

from stepwell.db.claim import Task
from stepwell.define.outcome import Completed, Failed, Moved, Outcome
from stepwell.observe.capture import speaking
from stepwell.observe.emit import emit
from stepwell.observe.events import ErrorHandled, TaskFailed, TaskStarted, TaskSucceeded
from stepwell.worker.answer import bounded
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import failed
from stepwell.worker.spans import span_of, told
from stepwell.worker.transactional import in_transaction


async def execute(task: Task, body: Body, context: TaskContext, hands: Hands) -> Outcome:
    """One attempt, with the span and the events that tell of it."""
    with span_of(task, hands) as span:
        return told(span, task, await attempted(task, body, context, hands))


async def attempted(task: Task, body: Body, context: TaskContext, hands: Hands) -> Outcome:
    facts = (task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt)
    emit(TaskStarted(*facts, task.waited))
    speaking.set(context)
    began = time.perf_counter()
    try:
        if body.transactional:
            answer = await in_transaction(task, body, context, hands)
        else:
            answer = bounded(task, await body.attempt(task, context, hands), hands.max_payload)
    except Exception as error:  # a mistake of ours harms this attempt and not the worker
        answer = failed(error)
    outcome = body.policy.judged(answer, task.attempt)
    seconds = time.perf_counter() - began
    match outcome:
        case Failed():
            will_retry = not outcome.permanent and task.attempt < task.max_attempts
            emit(TaskFailed(*facts, seconds, outcome.error_type, outcome.message, will_retry))
        case Moved(error_type=str(error_type), message=message):
            emit(ErrorHandled(*facts, seconds, error_type, message or "", outcome.word))
        case Moved():
            emit(TaskSucceeded(*facts, seconds, outcome.word))
        case Completed():
            emit(TaskSucceeded(*facts, seconds))
    await context.noted()
    return outcome
