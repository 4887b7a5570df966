"""Many outcomes at once: per run the same as one after another, in the order that SQL promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .model import ModelRun
from .outcome import Failed, Outcome


@dataclass(frozen=True, slots=True)
class Entry:
    """The outcome of one claim of a task of one run."""

    message_id: int
    token: int
    slug: str
    index: int
    outcome: Outcome


def commit_batch(
    run: ModelRun, entries: Iterable[Entry], apply: Callable[[ModelRun, Entry], bool]
) -> set[int]:
    """Completions and retries by step, then what is out of attempts by id; answers what counted."""
    ordered = sorted(entries, key=lambda entry: _order(run, entry))
    return {entry.message_id for entry in ordered if apply(run, entry)}


def _order(run: ModelRun, entry: Entry) -> tuple[bool, str | int, int]:
    attempts = run.tasks[entry.slug, entry.index].attempts_count
    exhausted = isinstance(entry.outcome, Failed) and (
        entry.outcome.permanent or attempts >= run.flow.attempts(entry.slug)
    )
    return exhausted, entry.message_id if exhausted else entry.slug, entry.message_id
