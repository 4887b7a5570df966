"""What rows mean to a caller: decoded values, and errors for runs that did not complete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from stepwell.db.call import Call
from stepwell.db.inspect import (
    AttemptInfo,
    RunRow,
    RunSummary,
    StepRow,
    list_runs,
    run_attempts,
)
from stepwell.define.flow import Flow
from stepwell.define.payload import decoder
from stepwell.errors import NotFound, PayloadError, RunCancelled, RunFailed

Out = TypeVar("Out")
Read = Callable[[bytes | str], Out]
STATUSES = ("started", "completed", "failed", "cancelled")
LONGEST_LIST = 10_000
MOST_ATTEMPTS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as it was when it was looked up. `status` is started, completed, failed or
    cancelled."""

    id: UUID
    flow: str
    version: int
    status: str
    input: Any
    output: Any
    error_message: str | None
    failed_step: str | None
    error_type: str | None
    key: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step of a run. `completed_tasks` of `initial_tasks` are done (None: not known yet)."""

    step: str
    type: str
    status: str
    dependencies: list[str]
    initial_tasks: int | None
    completed_tasks: int
    running_tasks: int
    failed_attempts: int
    lost_workers: int
    skip_reason: str | None
    error_message: str | None
    output: Any
    started_at: datetime | None
    ended_at: datetime | None
    next_at: datetime | None


_plain = decoder(Any)


def info_of(row: RunRow) -> RunInfo:
    values = asdict(row)
    values["id"], values["flow"] = values.pop("run_id"), values.pop("flow_slug")
    values["input"], values["output"] = value_of(row.input), value_of(row.output)
    return RunInfo(**values)


def step_of(row: StepRow) -> StepInfo:
    return StepInfo(**{**asdict(row), "output": value_of(row.output)})


def value_of(json: str | None) -> Any:
    return None if json is None else _plain(json)


def reader_of(flow: Flow[Any, Out] | str | None) -> Read[Out]:
    """How the output of a flow is read: as the type that it declares."""
    return decoder(flow.output_type) if isinstance(flow, Flow) else _plain


def result_of(row: RunRow, read: Read[Out]) -> Out:
    """The output of a run that ended; an error that names the run when it did not complete."""
    if row.status == "completed":
        try:
            return read(row.output or "null")
        except PayloadError as error:
            raise PayloadError(f"the output of run {row.run_id}: {error}") from error
    if row.status == "cancelled":
        reason = None if row.error_message == "cancelled" else row.error_message
        raise RunCancelled(row.run_id, message=reason)
    raise RunFailed(row.run_id, row.failed_step, row.error_type, row.error_message)


def listed(
    flow: Flow[Any, Any] | str | None, status: str | None, before: UUID | None, limit: int
) -> Call[RunSummary]:
    """The call that lists runs; PayloadError for what no list can have."""
    if status is not None and status not in STATUSES:
        raise PayloadError(f"no run has status {status!r}; it is one of {', '.join(STATUSES)}")
    slug = flow.slug if isinstance(flow, Flow) else flow
    return list_runs(slug, status, before, checked_limit(limit, LONGEST_LIST))


def checked_limit(limit: int, most: int) -> int:
    if not isinstance(limit, int) or not 1 <= limit <= most:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PayloadError(f"limit is {limit!r}; it must be a whole number from 1 to {most}")
    return limit


def attempts_of(run_id: UUID, limit: int) -> Call[AttemptInfo]:
    return run_attempts(run_id, checked_limit(limit, MOST_ATTEMPTS))


def no_run(run_id: UUID) -> NotFound:
    return NotFound(
        f"no run {run_id} in this database; one started on a connection of your own exists "
        "once your transaction commits"
    )
