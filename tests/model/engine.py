"""The SQL side of the comparison: the model's verbs, for batches of tasks of any runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from .batch import Entry
from .definition import FlowDef, Json
from .outcome import Completed
from .rows import Absent, Snapshot, snapshot
from .shape import shape

WORKER = UUID(int=1)


@dataclass(frozen=True, slots=True)
class Lane:
    """What a worker serves: one version of one flow; its queue is named like the flow."""

    queue: str
    version_id: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A task in hand."""

    message_id: int
    claim_token: int
    run_id: UUID
    step_slug: str
    task_index: int
    attempt: int
    input: str | None
    flow_input: str | None


@dataclass(frozen=True, slots=True)
class Turn:
    """What a batch came to: which outcomes counted, and the tasks that came back with it."""

    committed: set[int]
    claims: list[Claim]


class Engine:
    """One worker and one client on one connection."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn

    def define(self, flow: FlowDef) -> Lane:
        rows = self.call("select version_id from pgflow.ensure_flow(%s)", json.dumps(shape(flow)))
        return Lane(flow.slug, rows[0]["version_id"])

    def start(self, slug: str, inputs: Iterable[Json]) -> list[UUID]:
        rows = self.call(
            'select run_id from pgflow.start_runs(%s, %s::jsonb[]) order by "position"',
            slug,
            [json.dumps(given) for given in inputs],
        )
        return [row["run_id"] for row in rows]

    def claim(self, lanes: Sequence[Lane], want: int) -> list[Claim]:
        return self._claims(
            "select * from pgflow.claim_tasks(%s, %s, %s, %s)", WORKER, *_columns(lanes), want
        )

    def commit(self, entries: Sequence[Entry], lanes: Sequence[Lane], want: int) -> Turn:
        """Write outcomes; up to `want` tasks that become ready by it are claimed."""
        rows = self.call(COMMIT, WORKER, *_outcomes(entries), *_columns(lanes), want)
        told = {row["message_id"]: row["verdict"] for row in rows}
        handed = [message_id for message_id, verdict in told.items() if verdict == "handed"]
        claims = self._claims("select * from pgflow.describe_tasks(%s)", handed) if handed else []
        return Turn({i for i, verdict in told.items() if verdict == "committed"}, claims)

    def commit_and_claim(self, entries: Sequence[Entry], lanes: Sequence[Lane], want: int) -> Turn:
        """Write outcomes and claim up to `want` tasks, as a worker does."""
        rows = self.call(TURN, WORKER, *_outcomes(entries), *_columns(lanes), want)
        stale = {row["message_id"] for row in rows if row["verdict"] == "stale"}
        claimed = [row for row in rows if row["verdict"] is None]
        return Turn({entry.message_id for entry in entries} - stale, _claims_in(claimed))

    def cancel(self, run_id: UUID, reason: str) -> None:
        self.call("select pgflow.cancel_run(%s, %s)", run_id, reason)

    def snapshots(self, run_ids: Sequence[UUID]) -> dict[UUID, Snapshot]:
        runs = {row.pop("run_id"): row for row in self.call(RUNS, run_ids)}
        steps = self.call(STEPS, run_ids)
        tasks = self.call(TASKS, run_ids)
        return {
            run_id: snapshot(
                runs[run_id],
                [(s.pop("step_slug"), s) for s in _of(run_id, steps)],
                [(t.pop("step_slug"), t.pop("task_index"), t) for t in _of(run_id, tasks)],
            )
            for run_id in run_ids
        }

    def _claims(self, query: LiteralString, *args: Any) -> list[Claim]:
        return _claims_in(self.call(query, *args))

    def call(self, query: LiteralString, *args: Any) -> list[dict[str, Any]]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(query, args).fetchall()
        return [{name: _canonical(name, value) for name, value in row.items()} for row in rows]


COMMIT = """
select message_id, verdict
from pgflow.commit_tasks(
  worker => %s, message_ids => %s, tokens => %s, outcomes => %s, outputs => %s::jsonb[],
  error_messages => %s, lane_queues => %s, lane_versions => %s, want => %s)
where message_id is not null
"""
TURN = """
select *
from pgflow.commit_and_claim(
  worker => %s, message_ids => %s, tokens => %s, outcomes => %s, outputs => %s::jsonb[],
  error_messages => %s, error_types => null, tracebacks => null,
  lane_queues => %s, lane_versions => %s, want => %s)
"""
RUNS = """
select run_id, status, output::text, remaining_steps, error_message, failed_step
from pgflow.runs where run_id = any (%s)
"""
STEPS = """
select run_id, step_slug, status, remaining_deps, remaining_tasks, initial_tasks,
  output::text, skip_reason, error_message
from pgflow.step_states where run_id = any (%s)
"""
TASKS = """
select run_id, step_slug, task_index, status, attempts_count, output::text, error_message
from pgflow.step_tasks where run_id = any (%s)
"""


def _claims_in(rows: list[dict[str, Any]]) -> list[Claim]:
    return [Claim(*(row[name] for name in Claim.__dataclass_fields__)) for row in rows]


def _outcomes(entries: Sequence[Entry]) -> list[list[Any]]:
    """The columns of a batch: ids, tokens, outcomes, outputs, messages."""
    rows = [(entry.message_id, entry.token, *_told(entry)) for entry in entries]
    return [list(column) for column in zip(*rows, strict=True)]


def _told(entry: Entry) -> tuple[str, str | None, str | None]:
    """The outcome, the output and the error message as commit_tasks takes them."""
    outcome = entry.outcome
    if isinstance(outcome, Completed):
        absent = isinstance(outcome.output, Absent)
        return "completed", None if absent else json.dumps(outcome.output), None
    return "failed_permanently" if outcome.permanent else "failed", None, outcome.message


def _columns(lanes: Sequence[Lane]) -> tuple[list[str], list[int]]:
    return [lane.queue for lane in lanes], [lane.version_id for lane in lanes]


def _of(run_id: UUID, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    own = [row for row in rows if row["run_id"] == run_id]
    return [{name: value for name, value in row.items() if name != "run_id"} for row in own]


def _canonical(name: str, value: Any) -> Any:
    """JSON text as the model writes it."""
    if name == "output" and value is not None:
        return json.dumps(json.loads(value), sort_keys=True)
    return value
