"""Runs in pgflow's words: the columns of its tables under their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from stepwell.client.reading import RunInfo, no_run, value_of
from stepwell.db.inspect import StepRow
from stepwell.db.states import RunJson
from stepwell.define.duration import seconds
from stepwell.errors import DefinitionError, InvalidArgument, RunCancelled, RunFailed

LONGEST_WAIT = 60.0
POLL_INTERVAL = 0.5


@dataclass(frozen=True, slots=True)
class StepState:
    """A step of a run. `remaining_tasks` and `initial_tasks` are None while nobody knows."""

    flow_slug: str
    run_id: UUID
    step_slug: str
    status: str
    remaining_tasks: int | None
    initial_tasks: int | None
    remaining_deps: int
    output: Any
    error_message: str | None
    skip_reason: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    skipped_at: datetime | None


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A run. `kind` is flow, machine or job; `status` is started, completed, failed or
    cancelled."""

    run_id: UUID
    flow_slug: str
    kind: str
    status: str
    input: Any
    output: Any
    remaining_steps: int
    started_at: datetime
    completed_at: datetime | None
    failed_at: datetime | None
    cancelled_at: datetime | None
    error_message: str | None
    failed_step: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class FlowRunWithStates(FlowRun):
    """A run with its steps, in the order of the flow. A job has one step, and a machine the one
    where it stands."""

    step_states: tuple[StepState, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    run: msgspec.Raw
    steps: tuple[StepState, ...] = ()


_found = msgspec.json.Decoder(_Found)
_run = msgspec.json.Decoder(FlowRun)


def run_in(rows: Sequence[RunJson], run_id: UUID) -> FlowRun:
    """NotFound when there is none."""
    return _run.decode(_read(rows, run_id).run)


def run_with_states_in(rows: Sequence[RunJson], run_id: UUID) -> FlowRunWithStates:
    found = _read(rows, run_id)
    run = _run.decode(found.run)
    return FlowRunWithStates(**facts_of(run), step_states=found.steps)


def _read(rows: Sequence[RunJson], run_id: UUID) -> _Found:
    for row in rows:
        return _found.decode(row.found or "null")
    raise no_run(run_id)


def check_completed(run: FlowRunWithStates, info: RunInfo) -> None:
    """RunFailed, or RunCancelled, with the run in it, when it ended in another way."""
    if run.status == "completed":
        return
    reason = None if run.error_message == "cancelled" else run.error_message
    error = (
        RunCancelled(run.run_id, message=reason)
        if run.status == "cancelled"
        else RunFailed(run.run_id, run.failed_step, info.error_type, run.error_message)
    )
    error.run = run
    raise error


def with_steps_of(run: FlowRunWithStates, rows: Sequence[StepRow]) -> FlowRunWithStates:
    """A machine or a job has no rows in step_states: its task says how its step stands."""
    states = tuple(_state(run, row) for row in rows)
    return FlowRunWithStates(**facts_of(run), step_states=states)


def facts_of(run: FlowRun) -> dict[str, Any]:
    return {each.name: getattr(run, each.name) for each in fields(FlowRun)}


def _state(run: FlowRun, row: StepRow) -> StepState:
    over = run.status != "started"
    status = run.status if over else "started"
    status = "failed" if status == "cancelled" else status
    return StepState(
        flow_slug=run.flow_slug,
        run_id=run.run_id,
        step_slug=row.step,
        status=status,
        remaining_tasks=0 if status == "completed" else 1,
        initial_tasks=1,
        remaining_deps=0,
        output=value_of(row.output) if status == "completed" else None,
        error_message=row.error_message or run.error_message,
        skip_reason=None,
        created_at=run.started_at,
        started_at=run.started_at,
        completed_at=run.completed_at,
        failed_at=run.failed_at or run.cancelled_at,
        skipped_at=None,
    )


def id_of(run_id: object) -> UUID:
    """InvalidArgument (`invalid_id`) for what is no id of a run."""
    run_id = getattr(run_id, "id", run_id)  # of a handle
    if isinstance(run_id, UUID):
        return run_id
    try:
        return UUID(str(run_id))
    except ValueError as error:
        raise InvalidArgument(
            "invalid_id", f"{run_id!r} is no run id; a run id is a uuid", value=run_id
        ) from error


def wait_of(timeout: object, poll_interval: object) -> tuple[float | None, float]:
    """How long to wait at most, and how often to look, in seconds."""
    return timeout_of(timeout), _seconds("poll_interval", poll_interval, positive=True)


def timeout_of(timeout: object) -> float | None:
    """How long to wait at most, in seconds; InvalidArgument (`invalid_timeout`) for what is no
    time."""
    return None if timeout is None else _seconds("timeout", timeout)


def _seconds(name: str, value: object, *, positive: bool = False) -> float:
    try:
        return seconds(value, name, positive=positive)
    except DefinitionError as error:
        raise InvalidArgument(f"invalid_{name}", str(error), value=value) from error
