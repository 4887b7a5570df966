"""What a handler's `ctx` knows: the facts of one attempt."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.define.context import ChildInfo, Signal
from stepwell.define.payload import decoder
from stepwell.worker.asking import Asking

Answer = TypeVar("Answer")
ON_ERROR = 20.0  # seconds at most; within the 30 by which a task may outlive its step's timeout
_signals = decoder(list[Signal])


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


_ids = decoder(list[_Id])


class TaskContext:
    """Implements stepwell.Context and stepwell.MachineContext for one claimed task."""

    __slots__ = (
        "_asking",
        "_awaited",
        "_before",
        "_input_type",
        "_lost",
        "_task",
        "deadline",
        "flow_input_json",
        "late",
        "timeout",
        "worker_id",
    )

    def __init__(
        self,
        task: Task,
        worker_id: UUID,
        asking: Asking,
        flow_input_json: str | None = None,
        input_type: Any = Any,
        before: TaskContext | None = None,
    ) -> None:
        self._task = task
        self._asking = asking
        self._input_type = input_type
        self._before = before
        self._lost = False
        self.late = False
        self.timeout = float(task.timeout if before is None else min(task.timeout, ON_ERROR))
        self.worker_id = worker_id
        self.flow_input_json = flow_input_json
        self._awaited: list[Signal] | None = None
        self.begins()

    def begins(self) -> None:
        """The handler starts now; before, it may have waited for a free thread."""
        self.deadline = datetime.now(UTC) + timedelta(seconds=self.timeout)

    def lose(self) -> None:
        """The claim is gone, or goes back: no outcome of this task can be written."""
        self._lost = True

    @property
    def what(self) -> str:
        """The step, as a message names it."""
        return f"step {self._task.step_slug!r}"

    @property
    def token(self) -> int:
        """Of the claim."""
        return self._task.claim_token

    @property
    def lost(self) -> bool:
        return self._lost or (self._before is not None and self._before.lost)

    @property
    def cancelled(self) -> bool:
        return self.late or self.lost

    def after(self) -> TaskContext:
        """The context of on_error: it has a time of its own, and the claim of the step."""
        return TaskContext(self._task, self.worker_id, self._asking, before=self)

    @property
    def awaited(self) -> list[Signal]:
        """Read when first asked for, so that a payload that cannot be read fails the attempt."""
        if self._awaited is None:
            self._awaited = _signals(self._task.signals or "[]")
        return self._awaited

    @property
    def handed(self) -> list[int]:
        """The ids of the signals that this execution was handed."""
        return [signal.id for signal in _ids(self._task.signals or "[]")]

    async def signals(self, limit: int = 100) -> list[Signal]:
        return await self._asking.signals(self.run_id, limit)

    async def children(self, limit: int = 100) -> list[ChildInfo]:
        return await self._asking.children(self.run_id, limit)

    def wait(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        return self._asking.wait(asked)

    @property
    def run_id(self) -> UUID:
        return self._task.run_id

    @property
    def key(self) -> str | None:
        return self._task.key

    @property
    def flow(self) -> str:
        return self._task.flow_slug

    @property
    def machine(self) -> str:
        return self._task.flow_slug

    @property
    def version(self) -> int:
        return self._task.version

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
    def crashes(self) -> int:
        return self._task.crashes

    @property
    def flow_input(self) -> Any:
        if self.flow_input_json is None:
            return None
        return decoder(self._input_type)(self.flow_input_json)
