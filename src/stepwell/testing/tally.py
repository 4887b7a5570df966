"""What a drain did, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.db.commit import Entry
from stepwell.errors import StepwellError
from stepwell.testing.names import name_of, times_of
from stepwell.worker.queue_message import Handled

MAX_STEPS = 1000
MAX_STEPS_ON_THE_WAY = 10_000
WORDS = {
    "completed": "completed",
    "done": "done",
    "next": "next",
    "await": "awaiting",
    "spawn": "spawned",
    "retry": "retry",
    "snooze": "snoozed",
    "stop": "stopped",
    "cancelled": "cancelled",
    "failed_permanently": "failed",
    "archived": "completed",
    "dead": "failed",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """How often something ran, and how it ended.

    A handler that failed counts as `retry` while it has attempts left, and as `failed` after the
    last; `dropped` are outcomes of runs that had ended meanwhile. `fired` are runs that schedules
    started. Messages of queues count as steps do. `ran` says how often each step ran, by
    "definition.step"; it does not count when tallies are compared.

    >>> Tally(steps=2, completed=2) + Tally(steps=1, retry=1)
    Tally(steps=3, completed=2, retry=1)
    """

    steps: int = 0
    completed: int = 0
    done: int = 0
    next: int = 0
    awaiting: int = 0
    spawned: int = 0
    retry: int = 0
    snoozed: int = 0
    stopped: int = 0
    cancelled: int = 0
    failed: int = 0
    dropped: int = 0
    fired: int = 0
    ran: Mapping[str, int] = field(default_factory=Counter[str], compare=False)
    by_run: Mapping[tuple[UUID, str], int] = field(
        default_factory=Counter[tuple[UUID, str]], compare=False
    )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            *(getattr(self, name) + getattr(other, name) for name in NUMBERS),
            ran=Counter(self.ran) + Counter(other.ran),
            by_run=Counter(self.by_run) + Counter(other.by_run),
        )

    def __repr__(self) -> str:
        said = (f"{name}={number}" for name in NUMBERS if (number := getattr(self, name)))
        return f"Tally({', '.join(said)})"

    def assert_ran(self, step: Any, times: int | None = None) -> None:
        """AssertionError unless a step ran, so often if you say. It is "definition.step" or the
        step's own name; or the job, the step of a flow or machine, or the queue worker itself."""
        __tracebackhide__ = True
        check_ran(step, times, self.ran)


NUMBERS = [each.name for each in fields(Tally) if each.name not in ("ran", "by_run")]


def check_ran(step: Any, times: int | None, ran: Mapping[str, int], where: str = "") -> None:
    """AssertionError says what ran instead."""
    __tracebackhide__ = True
    name = name_of(step)
    found = sum(count for each, count in ran.items() if is_called(each, name))
    if found == times or (times is None and found):
        return
    wanted = "to run" if times is None else f"to run {times_of(times)}"
    others = ", ".join(f"{each} {times_of(count)}" for each, count in sorted(ran.items()))
    raise AssertionError(
        f"expected {name}{where} {wanted}, and it ran {times_of(found)}; "
        f"what ran: {others or 'nothing'}"
    )


def is_called(full: str, name: str) -> bool:
    """Whether "definition.step" is meant by one of its parts, or both."""
    return name in (full, *full.split(".", 1))


class NeverQuiet(StepwellError):
    """There is still something ready after as many steps as were allowed. `tally` says what ran."""

    def __init__(self, tally: Tally, max_steps: int) -> None:
        self.tally = tally
        most = Counter(tally.ran).most_common(5)
        ran = ", ".join(f"{step} ({times} times)" for step, times in most)
        super().__init__(
            f"after {max_steps} steps something is still ready; what ran: {ran or 'nothing'}. A "
            "step that goes on at once, for ever, never lets a drain end: give it a delay, or an "
            "end; or allow more with max_steps=..."
        )


def tally_of(task: Task, entry: Entry, *, dropped: bool) -> Tally:
    """One step that ran."""
    name = f"{task.flow_slug}.{task.step_slug}"
    by_run = Counter([(task.run_id, name)])
    word = "dropped" if dropped else word_of(task, entry)
    counted: dict[str, Any] = {word: 1}
    return Tally(steps=1, ran=Counter([name]), by_run=by_run, **counted)


def tally_of_message(handled: Handled, *, lost: bool) -> Tally:
    """One message that was handled."""
    word = "dropped" if lost else WORDS[handled.ending.outcome]
    counted: dict[str, Any] = {word: 1}
    return Tally(steps=1, ran=Counter([name_of(handled.held.definition)]), **counted)


def word_of(task: Task, entry: Entry) -> str:
    if entry.outcome == "failed":
        return "retry" if task.attempt < task.max_attempts else "failed"
    return WORDS[entry.outcome]
