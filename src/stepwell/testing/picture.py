"""The parts of a run as text, for the message of a test that failed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from stepwell.client.reading import RunInfo, StepInfo
from stepwell.client.run import AttemptInfo

LONGEST = 200  # characters of a value


def facts_of(run: RunInfo) -> Iterator[str]:
    yield f"{run.flow} v{run.version}  {run.id}  {status_of(run)}"
    where = f"step {run.failed_step}: " if run.failed_step else ""
    kind = f"{run.error_type}: " if run.error_type else ""
    said = {
        "key": run.key,
        "started": moment(run.started_at),
        "ended": run.ended_at and moment(run.ended_at),
        "input": short(run.input),
        "state": short(run.state) if run.kind == "machine" else None,
        "output": short(run.output) if run.status == "completed" else None,
        "error": f"{where}{kind}{run.error_message}" if run.error_message else None,
    }
    for name, value in said.items():
        if value:
            yield f"{name:8} {value}"


def step_table(steps: Sequence[StepInfo]) -> list[str]:
    rows = [
        [
            s.step,
            s.status,
            f"{s.completed_tasks}/{s.initial_tasks}" if s.type == "map" else "",
            f"{s.failed_attempts}x" if s.failed_attempts else "",
            result_of(s),
        ]
        for s in steps
    ]
    return table(["step", "state", "tasks", "failed", "result"], rows)


def result_of(step: StepInfo) -> str:
    if step.status == "completed":
        return short(step.output)
    said = [step.skip_reason or "", step.error_message or "", *waits_of(step)]
    return "; ".join(part for part in said if part)


def waits_of(step: StepInfo) -> Iterator[str]:
    """What it waits for, in words."""
    if step.awaits:
        yield f"waits for {', '.join(map(repr, step.awaits))}"
    if step.blocked_on:
        yield f"waits for a slot of {step.blocked_on}"
    if step.next_at:
        yield f"until {moment(step.next_at)}" if step.awaits else f"goes on {moment(step.next_at)}"


def attempt_lines(each: AttemptInfo) -> Iterator[str]:
    yield f"{each.step}[{each.task_index}] attempt {each.attempt}  {moment(each.failed_at)}"
    yield f"{each.error_type}: {each.error_message}"
    yield from (each.traceback or "").rstrip().splitlines()


def status_of(run: RunInfo) -> str:
    return "paused" if run.paused and run.status == "started" else run.status


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [columns, *rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
