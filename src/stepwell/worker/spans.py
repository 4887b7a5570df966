"""What an attempt's span says, and how its trace goes on in what the attempt starts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from stepwell.db.claim import Task
from stepwell.db.commit import RunEnd
from stepwell.define.outcome import Completed, Failed, Moved, Outcome
from stepwell.observe.events import RunEnded
from stepwell.observe.traces import UNTRACED, Attempt, Traces, carried
from stepwell.worker.body import Hands


def span_of(task: Task, hands: Hands) -> AbstractContextManager[Attempt]:
    """Current while the attempt runs: in its handler too, also in a thread."""
    if not hands.traces.on:  # asked before anything is made for it
        return UNTRACED
    facts = {
        "run_id": str(task.run_id),
        "flow": task.flow_slug,
        "kind": task.kind,
        "version": task.version,
        "step": task.step_slug,
        "task_index": task.task_index,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "worker_id": str(hands.worker_id),
    }
    name = f"{task.flow_slug} {task.step_slug}"
    return hands.traces.attempt(task.run_id, name, facts, task.trace)


def told(span: Attempt, task: Task, outcome: Outcome) -> Outcome:
    """The outcome, put on the span; children that it asks for take the trace along."""
    if not span:
        return outcome
    match outcome:
        case Completed():
            span.ended("completed")
        case Failed():
            retried = not outcome.permanent and task.attempt < task.max_attempts
            span.raised(outcome.error_type, outcome.message, outcome.traceback)
            span.ended("failed", will_retry=retried)
        case Moved():
            if outcome.error_type is not None:
                span.raised(outcome.error_type, outcome.message or "", outcome.traceback)
            span.ended(outcome.word)
            if outcome.word == "spawn":
                return traced(outcome)
    return outcome


def carrying(outcome: Outcome) -> Outcome:
    """The same where the outcome is written before its span ends."""
    if isinstance(outcome, Moved) and outcome.word == "spawn":
        return traced(outcome)
    return outcome


def traced(spawn: Moved) -> Moved:
    trace = carried()
    if trace is None:
        return spawn
    return replace(spawn, move=b'{"trace":' + trace.encode() + b"," + spawn.move[1:])


def run_ended(run: RunEnd) -> RunEnded:
    return RunEnded(run.run_id, run.flow_slug, run.kind, run.status, run.seconds)


def observes(traces: Traces, metrics: str) -> bool:
    """Whether a worker wants to know more of a turn than it must."""
    return metrics != "off" or traces.on
