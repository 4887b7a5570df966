"""What rows mean to a caller: decoded values, and errors for runs that did not complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from stepwell.client.definition import output_type_of
from stepwell.db.call import Call
from stepwell.db.children import ChildRow, children_of
from stepwell.db.inspect import (
    AttemptInfo,
    FoundRun,
    RunRow,
    StepRow,
    run_attempts,
)
from stepwell.db.steer import Labels, label_run
from stepwell.define.context import ChildInfo
from stepwell.define.definition import Definition
from stepwell.define.labels import Metadata, checked_metadata, checked_tags
from stepwell.define.payload import decoder, encode
from stepwell.errors import (
    DefinitionError,
    NotFound,
    PayloadError,
    RunCancelled,
    RunFailed,
    RunTimeout,
)

Out = TypeVar("Out")
Read = Callable[[bytes | str], Out]
LONGEST_LIST = 10_000
MOST_ATTEMPTS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run as it was when it was looked up. `status` is started, completed, failed or
    cancelled; `flow` the slug of the flow, machine or job, `kind` says which. `state` is that of a
    machine, whose `input` is the one that it began with. `paused` is not ended."""

    id: UUID
    flow: str
    kind: str
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
    state: Any
    priority: int
    parent_id: UUID | None
    origin_id: UUID | None
    paused: bool
    tags: list[str]
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step of a run; of a machine or a job, the one where it stands. `completed_tasks` of
    `initial_tasks` are done (None: not known yet). It goes on at `next_at`, when a signal of
    `awaits` comes, or when the limit `blocked_on` has room."""

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
    awaits: list[str] | None
    blocked_on: str | None


_plain = decoder(Any)


def info_of(row: RunRow) -> RunInfo:
    values = asdict(row)
    values["id"], values["flow"] = values.pop("run_id"), values.pop("flow_slug")
    for name in ("input", "output", "state"):
        values[name] = value_of(values[name])
    values["paused"] = values.pop("paused_at") is not None
    return RunInfo(**values)


def step_of(row: StepRow) -> StepInfo:
    return StepInfo(**{**asdict(row), "output": value_of(row.output)})


def value_of(json: str | None) -> Any:
    return None if json is None else _plain(json)


def ended_now(ids: Sequence[UUID], rows: Sequence[RunRow], timeout: float) -> Sequence[RunRow]:
    """For who does not want to wait: all of these runs, or an error that names one."""
    found = {row.run_id: row.status for row in rows}
    for run_id in ids:
        if run_id not in found:
            raise no_run(run_id)
    live = [run_id for run_id, status in found.items() if status == "started"]
    if live:
        raise RunTimeout(live[0], timeout, len(live) - 1)
    return rows


def reader_of(definition: Definition | str | None) -> Read[Any]:
    """How results are read: as the type that the flow or job declares."""
    return decoder(output_type_of(definition))


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


def labelling(
    run_id: UUID,
    add: Sequence[str],
    remove: Iterable[str],
    metadata: Metadata | None,
    actor: str | None,
) -> Call[Labels]:
    """The call that labels a run; PayloadError for what no run can have."""
    try:
        tags = checked_tags(add, "label"), checked_tags(remove, "label")
        changes = checked_metadata(metadata or {}, "label")
    except DefinitionError as error:
        raise PayloadError(str(error)) from error
    return label_run(run_id, *tags, encode(changes).decode(), actor)


def checked_limit(limit: int, most: int) -> int:
    if not isinstance(limit, int) or not 1 <= limit <= most:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PayloadError(f"limit is {limit!r}; it must be a whole number from 1 to {most}")
    return limit


def attempts_of(run_id: UUID, limit: int) -> Call[AttemptInfo]:
    return run_attempts(run_id, checked_limit(limit, MOST_ATTEMPTS))


def some_children(run_id: UUID, limit: int) -> Call[ChildRow]:
    return children_of(run_id, checked_limit(limit, LONGEST_LIST))


def child_of(row: ChildRow) -> ChildInfo:
    values = asdict(row)
    values["slug"], values["output"] = values.pop("flow_slug"), value_of(row.output)
    return ChildInfo(**values)


def the_run(key: str, found: list[FoundRun]) -> UUID:
    for row in found:
        return row.run_id
    raise NotFound(f"no run in this database has or had the key {key!r}")


def no_run(run_id: UUID) -> NotFound:
    return NotFound(
        f"no run {run_id} in this database; one started on a connection of your own exists "
        "once your transaction commits"
    )
