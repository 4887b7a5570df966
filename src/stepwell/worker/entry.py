"""Outcomes as the rows that the commit takes."""

from __future__ import annotations

from stepwell.db.claim import Task
from stepwell.db.commit import Entry
from stepwell.define.outcome import Completed, Failed, Moved, Outcome

# `next` arms one only with a delay, and says so
TIMERS = frozenset({"snooze", "retry", "await", "spawn"})


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
