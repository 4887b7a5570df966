"""What a handler's `ctx` knows: the facts of one attempt."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.define.context import LEVELS, ChildInfo, LogLevel, Signal
from stepwell.define.payload import decoder
from stepwell.errors import TransactionError
from stepwell.worker.asking import Asking
from stepwell.worker.notes import Notebook, Notes, making

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection

    from stepwell.worker.transaction import Transaction

Answer = TypeVar("Answer")
ON_ERROR = 20.0  # seconds at most; within the 30 by which a task may outlive its step's timeout
SAY_SO = "say transactional=True where it is defined"
BEFORE_ON_ERROR = "what the step wrote was rolled back before on_error, which has no transaction"
_signals = decoder(list[Signal])


@dataclass(frozen=True, slots=True)
class _Id:
    id: int


@dataclass(frozen=True, slots=True)
class _Labels:
    tags: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None


_ids = decoder(list[_Id])
_labels = decoder(_Labels)


class TaskContext:
    """Implements stepwell.Context and stepwell.MachineContext for one claimed task."""

    __slots__ = (
        "_asking",
        "_awaited",
        "_before",
        "_input_type",
        "_labels",
        "_lost",
        "_notebook",
        "_notes",
        "_task",
        "deadline",
        "flow_input_json",
        "late",
        "timeout",
        "transaction",
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
        notes: Notes | None = None,
    ) -> None:
        self._task = task
        self._notes = notes if before is None else before._notes
        self._notebook: Notebook | None = None
        self._asking = asking
        self._input_type = input_type
        self._before = before
        self._lost = False
        self.late = False
        self.transaction: Transaction | None = None
        self.timeout = float(task.timeout if before is None else min(task.timeout, ON_ERROR))
        self.worker_id = worker_id
        self.flow_input_json = flow_input_json
        self._awaited: list[Signal] | None = None
        self._labels: _Labels | None = None
        self.begins()

    def progress(self, share: float | None = None, message: str | None = None) -> None:
        if not self.late and self._notes is not None:
            self._notes.progress(self._book, share, message)

    def log(self, message: str, *, level: LogLevel = "info") -> None:
        if level not in LEVELS:
            raise ValueError(f"there is no level {level!r}; it is one of {', '.join(LEVELS)}")
        self.keep(level, message)

    def keep(self, level: str, message: str) -> None:
        if not self.late and self._notes is not None:
            self._notes.log(self._book, level, message)

    def heard(
        self,
        share: tuple[float | None, str | None, float] | None,
        lines: Sequence[tuple[float, str, str]],
        dropped: int,
    ) -> None:
        """What the body said in a child process."""
        if not self.late and self._notes is not None:
            self._notes.take(self._book, share, lines, dropped)

    async def noted(self) -> None:
        """What was said is written, or that it is lost was told: to be awaited before the outcome
        is, which ends the claim."""
        if self._notebook is not None and self._notes is not None:
            await self._notes.settle(self.token)

    @property
    def _book(self) -> Notebook:
        """One for the claim, made when it is first written into, by whichever thread."""
        if self._before is not None:
            return self._before._book
        if self._notebook is None:
            with making:
                self._notebook = self._notebook or Notebook(self._task)
        return self._notebook

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
    def connection(self) -> AsyncConnection[Any]:
        return self._transaction_of("connection").connection

    @property
    def sync_connection(self) -> Connection[Any]:
        return self._transaction_of("sync_connection").sync_connection

    def _transaction_of(self, name: str) -> Transaction:
        if self.transaction is not None:
            return self.transaction
        if self._before is not None and self._before.transaction is not None:
            raise TransactionError(f"ctx.{name}: {BEFORE_ON_ERROR}")
        raise TransactionError(f"ctx.{name}: {self.what} is not transactional; {SAY_SO}")

    @property
    def settled(self) -> bool:
        """Whether its outcome is written already, with what the handler wrote."""
        return self.transaction is not None and self.transaction.written

    @property
    def run_id(self) -> UUID:
        return self._task.run_id

    @property
    def tags(self) -> tuple[str, ...]:
        return self._said.tags or ()

    @property
    def metadata(self) -> Mapping[str, Any]:
        return MappingProxyType(self._said.metadata or {})

    @property
    def _said(self) -> _Labels:
        """Read when first asked for, as what was awaited is."""
        if self._labels is None:
            self._labels = _labels(self._task.labels or "{}")
        return self._labels

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
