"""What became of the children that a task waited for."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from stepwell.db.children import ChildRow
from stepwell.db.claim import Task
from stepwell.define.outcome import Completed, Outcome
from stepwell.define.payload import decoder
from stepwell.errors import RunCancelled, RunFailed
from stepwell.worker.asking import Asking
from stepwell.worker.failure import failed, failed_as
from stepwell.worker.guard import Raised


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
        return failed_child(task, rows).failed
    outputs = [msgspec.Raw((row.output or "null").encode()) for row in rows]
    return Completed(msgspec.json.encode(outputs))


def failed_child(task: Task, rows: list[ChildRow]) -> Raised:
    """The first child that failed, as on_error and as the run hear of it. Of one that is no longer
    there only its parent can be named."""
    ended = [row for row in rows if row.status in ("failed", "cancelled")]
    if not ended:
        gone = "a child failed, and was deleted or retried since"
        return Raised(
            RunFailed(task.run_id, message=gone), failed_as("ChildFailed", gone, permanent=True)
        )
    first = min(ended, key=lambda row: (row.ended_at is None, row.ended_at, row.run_id))
    kind = RunCancelled if first.status == "cancelled" else RunFailed
    error = kind(first.run_id, message=first.error_message)
    return Raised(error, failed_as("ChildFailed", f"a child failed: {error}", permanent=True))
