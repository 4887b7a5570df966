"""What a handler's `ctx` knows: the facts of one attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.define.payload import decoder


class TaskContext:
    """Implements stepwell.Context for one claimed task."""

    __slots__ = ("_input_type", "_task", "cancelled", "deadline", "flow_input_json", "worker_id")

    def __init__(
        self, task: Task, worker_id: UUID, flow_input_json: str | None, input_type: Any
    ) -> None:
        self._task = task
        self._input_type = input_type
        self.worker_id = worker_id
        self.flow_input_json = flow_input_json
        self.cancelled = False
        self.begins()

    def begins(self) -> None:
        """The handler starts now; before, it may have waited for a free thread."""
        self.deadline = datetime.now(UTC) + timedelta(seconds=self._task.timeout)

    @property
    def run_id(self) -> UUID:
        return self._task.run_id

    @property
    def flow(self) -> str:
        return self._task.flow_slug

    @property
    def step(self) -> str:
        return self._task.step_slug

    @property
    def task_index(self) -> int:
        return self._task.task_index

    @property
    def attempt(self) -> int:
        return self._task.attempt

    @property
    def max_attempts(self) -> int:
        return self._task.max_attempts

    @property
    def last_attempt(self) -> bool:
        return self._task.attempt >= self._task.max_attempts

    @property
    def flow_input(self) -> Any:
        if self.flow_input_json is None:
            return None
        return decoder(self._input_type)(self.flow_input_json)
