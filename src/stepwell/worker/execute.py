"""EXECUTE: run one task and say how it ended. Whatever its handler does, this returns."""

from __future__ import annotations

import time

from stepwell.db.claim import Task
from stepwell.db.commit import Entry
from stepwell.define.outcome import Completed, Failed, Moved, Outcome
from stepwell.observe.emit import emit
from stepwell.observe.events import ErrorHandled, TaskFailed, TaskStarted, TaskSucceeded
from stepwell.worker.body import Body, Hands
from stepwell.worker.context import TaskContext
from stepwell.worker.failure import failed

# `next` arms one only with a delay, and says so
TIMERS = frozenset({"snooze", "retry", "await", "spawn"})


async def execute(task: Task, body: Body, context: TaskContext, hands: Hands) -> Outcome:
    """One attempt, with the events that tell of it."""
    facts = (task.run_id, task.flow_slug, task.step_slug, task.task_index, task.attempt)
    emit(TaskStarted(*facts))
    began = time.perf_counter()
    try:
        answer = await body.attempt(task, context, hands)
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
    return outcome


def entry_of(task: Task, outcome: Outcome) -> Entry:
    """An outcome as the row that the commit takes."""
    name = (task.message_id, task.claim_token)
    match outcome:
        case Completed(output):
            return Entry(*name, "completed", output.decode())
        case Failed(error_type, message, trace, permanent, delay):
            word = "failed_permanently" if permanent else "failed"
            output = None if delay is None else f'{{"delay":{delay}}}'
            return Entry(*name, word, output, error_type, message, trace or None, not permanent)
        case Moved(word, move, error_type, message, trace):
            delays = word in TIMERS or (word == "next" and b'"delay"' in move)
            return Entry(*name, word, move.decode(), error_type, message, trace, delays)
