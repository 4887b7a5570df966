"""What a handler can ask about its own execution. The worker implements it."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args
from uuid import UUID

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection

Answer = TypeVar("Answer")
LogLevel = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)


class Execution(Protocol):
    """Facts about one execution, of whatever it is."""

    @property
    def run_id(self) -> UUID: ...

    @property
    def step(self) -> str:
        """The slug of the step."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the run, as they were when this attempt was claimed."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata of the run, as it was then; empty when there is none. To change it, use
        `run.label`."""
        ...

    @property
    def attempt(self) -> int:
        """Which try this is; the first is 1. Runs that a crash cut off are not counted."""
        ...

    @property
    def max_attempts(self) -> int: ...

    @property
    def deadline(self) -> datetime:
        """When the step's timeout ends this attempt, in UTC."""
        ...

    @property
    def cancelled(self) -> bool:
        """True once its outcome can no longer be written; long sync bodies look now and then."""
        ...

    def progress(self, share: float | None = None, message: str | None = None) -> None:
        """Say how far this is, from 0 to 1, and what it is about. From any thread; it costs little,
        and only the last word of each second is written."""
        ...

    def log(self, message: str, *, level: LogLevel = "info") -> None:
        """Keep a line with this attempt, from any thread. All lines are there when the outcome is;
        an attempt keeps as many as the settings say."""
        ...

    @property
    def connection(self) -> AsyncConnection[Any]:
        """What a transactional async handler writes through: it commits with the outcome, or not
        at all."""
        ...

    @property
    def sync_connection(self) -> Connection[Any]:
        """The same for a sync handler."""
        ...

    @property
    def worker_id(self) -> UUID: ...


class Context(Execution, Protocol):
    """Facts about one execution of one task; ask for it with a parameter `ctx`.

    >>> def charge(reserve: dict[str, int], ctx: Context) -> str:
    ...     return f"charged by attempt {ctx.attempt} of run {ctx.run_id}"
    """

    @property
    def flow(self) -> str:
        """The slug of the flow."""
        ...

    @property
    def task_index(self) -> int:
        """Which element of a map step this is; 0 for a single step."""
        ...

    @property
    def last_attempt(self) -> bool:
        """True when a failure of this attempt is final."""
        ...

    @property
    def flow_input(self) -> Any:
        """The flow's input, decoded to the flow's input type."""
        ...


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal out of a run's inbox."""

    id: int
    name: str
    payload: Any
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A run that this one started with Spawn."""

    run_id: UUID
    slug: str
    kind: str
    status: str
    output: Any
    error_message: str | None
    key: str | None
    started_at: datetime
    ended_at: datetime | None


class MachineContext(Execution, Protocol):
    """Facts about one execution of one step of a machine.

    >>> async def ship(ctx: MachineContext) -> str:
    ...     return f"{len(ctx.awaited)} of {len(await ctx.signals())} signals"
    """

    @property
    def key(self) -> str | None:
        """The key that the run was started with."""
        ...

    @property
    def machine(self) -> str:
        """The slug of the machine."""
        ...

    @property
    def version(self) -> int:
        """The version of the machine that the run was started with."""
        ...

    @property
    def crashes(self) -> int:
        """How often a worker was lost in the middle of this step."""
        ...

    @property
    def awaited(self) -> list[Signal]:
        """The signals that this step waited for, oldest first; empty when the time was up."""
        ...

    async def signals(self, limit: int = 100) -> list[Signal]:
        """The whole inbox of the run, consumed ones too, oldest first; loaded when asked."""
        ...

    async def children(self, limit: int = 100) -> list[ChildInfo]:
        """The runs that this one started, in their order; loaded when asked."""
        ...

    def wait(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        """What an async step awaits, in a sync one: `ctx.wait(ctx.signals())`."""
        ...


class MessageContext(Protocol):
    """Facts about one handling of one message; a queue worker asks for it with a parameter `ctx`.

    >>> async def resize(image: str, ctx: MessageContext) -> None:
    ...     print(f"message {ctx.msg_id}, try {ctx.read_ct}")
    """

    @property
    def queue(self) -> str: ...

    @property
    def msg_id(self) -> int: ...

    @property
    def read_ct(self) -> int:
        """How often the message was read; the first is 1. What a crash cut off is counted."""
        ...

    @property
    def enqueued_at(self) -> datetime: ...

    @property
    def headers(self) -> Any:
        """What the sender put beside the message, or None."""
        ...

    @property
    def last_attempt(self) -> bool:
        """True when a failure makes the message a dead letter."""
        ...

    @property
    def cancelled(self) -> bool:
        """True once the message is somebody else's; long sync handlers look now and then."""
        ...

    @property
    def connection(self) -> AsyncConnection[Any]:
        """What a transactional async handler writes through: it commits with the end of the
        message, or not at all."""
        ...

    @property
    def sync_connection(self) -> Connection[Any]:
        """The same for a sync handler."""
        ...

    @property
    def worker_id(self) -> UUID: ...
