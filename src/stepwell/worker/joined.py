"""What became of the children that a task waited for."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from stepwell.db.children import ChildRow
from stepwell.db.claim import Task
from stepwell.define.outcome import Completed, Failed, Outcome
from stepwell.define.payload import decoder
from stepwell.errors import RunCancelled, RunFailed
from stepwell.worker.asking import Asking
from stepwell.worker.failure import failed, failed_as


@dataclass(frozen=True, slots=True)
class Join:
    """The children of one Spawn, counted."""

    total: int
    pending: int
    completed: int
    failed: int
    policy: str

    @property
    def fails(self) -> bool:
        """True when its parent is to fail with a child."""
        return self.policy == "fail" and self.failed > 0


_read = decoder(Join)


def join_of(task: Task) -> Join | None:
    """The join that woke the task, if one did."""
    return _read(task.children) if task.children else None


async def results(task: Task, join: Join, asking: Asking) -> Outcome:
    """The output of a flow's step that spawned: the results in the order of the children, null for
    one that did not complete."""
    try:
        rows = await asking.joined(task.message_id, join.total)
    except Exception as error:
        return failed(error, says=f"the children of step {task.step_slug!r} could not be read")
    if join.fails:
        return failed_child(child_error(rows))
    outputs = [msgspec.Raw((row.output or "null").encode()) for row in rows]
    return Completed(msgspec.json.encode(outputs))


def child_error(rows: list[ChildRow]) -> RunFailed:
    """What on_error is told of the first child that failed."""
    ended = [row for row in rows if row.status in ("failed", "cancelled")]
    first = min(ended, key=lambda row: (row.ended_at is None, row.ended_at, row.run_id))
    kind = RunCancelled if first.status == "cancelled" else RunFailed
    return kind(first.run_id, message=first.error_message)


def failed_child(error: RunFailed) -> Failed:
    return failed_as("ChildFailed", f"a child failed: {error}", permanent=True)
