"""The code for a task: which of their functions is called, and what becomes of what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from stepwell.db.claim import Task
from stepwell.define.middleware import Middleware
from stepwell.define.outcome import Outcome
from stepwell.observe.traces import Traces
from stepwell.settings import MAX_PAYLOAD
from stepwell.worker.asking import Asking
from stepwell.worker.context import TaskContext
from stepwell.worker.policy import Policy
from stepwell.worker.processes import Lingering, Processes
from stepwell.worker.threads import Threads
from stepwell.worker.transactions import Transactions


def alone(_token: int, _change: int) -> None:
    """Nobody counts what goes on after it was given up."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What a worker has for the bodies it runs. `linger` hears whose body goes on after it was
    given up (+1), and when it is over (-1)."""

    worker_id: UUID
    threads: Threads
    asking: Asking
    transactions: Transactions = field(kw_only=True)
    traces: Traces = field(default_factory=Traces)
    observes: Callable[[], bool] = field(default=lambda: False, kw_only=True)
    max_payload: int = field(default=MAX_PAYLOAD, kw_only=True)
    processes: Processes | None = field(default=None, kw_only=True)
    linger: Lingering = field(default=alone, kw_only=True)
    middleware: tuple[Middleware, ...] = field(default=(), kw_only=True)

    async def close(self) -> None:
        """Once none of them runs any more; a thread ends with its handler."""
        self.threads.close()
        await self.asking.close()
        await self.transactions.close()
        if self.processes is not None:
            await self.processes.close()


class Body(Protocol):
    """What runs for the tasks of one step."""

    @property
    def takes_input(self) -> bool:
        """Whether it wants the input of its flow."""
        ...

    @property
    def input_type(self) -> Any: ...

    @property
    def transactional(self) -> bool:
        """Whether its outcome commits with what it wrote."""
        ...

    @property
    def policy(self) -> Policy:
        """What follows a failed attempt."""
        ...

    async def attempt(self, task: Task, context: TaskContext, hands: Hands) -> Outcome:
        """Run it once. Only a lost claim ends it with an exception."""
        ...
