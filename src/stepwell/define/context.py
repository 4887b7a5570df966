"""What a handler can ask about its own execution. The worker implements it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


class Context(Protocol):
    """Facts about one execution of one task; ask for it with a parameter `ctx`.

    >>> def charge(reserve: dict[str, int], ctx: Context) -> str:
    ...     return f"charged by attempt {ctx.attempt} of run {ctx.run_id}"
    """

    @property
    def run_id(self) -> UUID: ...

    @property
    def flow(self) -> str:
        """The slug of the flow."""
        ...

    @property
    def step(self) -> str:
        """The slug of the step."""
        ...

    @property
    def task_index(self) -> int:
        """Which element of a map step this is; 0 for a single step."""
        ...

    @property
    def attempt(self) -> int:
        """Which try this is; the first is 1. Runs that a crash cut off are not counted."""
        ...

    @property
    def max_attempts(self) -> int: ...

    @property
    def last_attempt(self) -> bool:
        """True when a failure of this attempt is final."""
        ...

    @property
    def deadline(self) -> datetime:
        """When the step's timeout ends this attempt, in UTC."""
        ...

    @property
    def flow_input(self) -> Any:
        """The flow's input, decoded to the flow's input type."""
        ...

    @property
    def cancelled(self) -> bool:
        """True once the result can no longer be written; long sync handlers look now and then."""
        ...

    @property
    def worker_id(self) -> UUID: ...
