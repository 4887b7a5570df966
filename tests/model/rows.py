"""The rows of one run as the model keeps them, and the snapshot that is compared with the SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from .definition import FlowDef, Json


class Absent(Enum):
    """SQL NULL, which is not JSON null."""

    ABSENT = "SQL NULL"


ABSENT = Absent.ABSENT
Value: TypeAlias = "Json | Absent"


@dataclass(slots=True)
class RunRow:
    input: Json
    remaining_steps: int
    status: str = "started"
    output: Value = ABSENT
    error_message: str | None = None
    failed_step: str | None = None


@dataclass(slots=True)
class StepRow:
    remaining_deps: int
    initial_tasks: int | None
    status: str = "created"
    remaining_tasks: int | None = None
    output: Value = ABSENT
    skip_reason: str | None = None
    error_message: str | None = None


@dataclass(slots=True)
class TaskRow:
    status: str = "queued"
    attempts_count: int = 0
    output: Value = ABSENT
    error_message: str | None = None


TaskKey: TypeAlias = tuple[str, int]


@dataclass(slots=True)
class State:
    """All rows of one run, and the flow that it runs."""

    flow: FlowDef
    run: RunRow
    steps: dict[str, StepRow]
    tasks: dict[TaskKey, TaskRow]


Row = dict[str, Any]
Snapshot = dict[str, Row]


def snapshot(
    run: Row, steps: Iterable[tuple[str, Row]], tasks: Iterable[tuple[str, int, Row]]
) -> Snapshot:
    """All rows of a run by name: `run`, `step` and `step[index]`."""
    rows = {"run": run}
    rows |= dict(steps)
    rows |= {f"{slug}[{index}]": row for slug, index, row in tasks}
    return rows


def text(value: Value) -> str | None:
    """Canonical JSON text: tells true from 1 and JSON null ("null") from SQL NULL (None)."""
    return None if isinstance(value, Absent) else json.dumps(value, sort_keys=True)


def type_name(value: Value) -> str:
    """As jsonb_typeof says it; SQL NULL counts as null."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"
