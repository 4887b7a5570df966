"""pgflow's functions as its users call them: plain SQL, rows by name."""

from __future__ import annotations

import json
from typing import Any, LiteralString
from uuid import UUID, uuid4

from psycopg.rows import dict_row

from tests.db.hands import Connection

Row = dict[str, Any]
RUN: LiteralString = (
    "select status, remaining_steps, output, completed_at is not null as completed,"
    " failed_at is not null as failed from pgflow.runs where run_id = %s"
)
STEPS: LiteralString = "select * from pgflow.step_states where run_id = %s"
TASKS: LiteralString = "select * from pgflow.step_tasks where run_id = %s"


class Caller:
    """One connection, and a foreign worker that may be registered on it."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    def rows(self, query: LiteralString, *args: Any) -> list[Row]:
        with self.conn.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, args).fetchall()

    def row(self, query: LiteralString, *args: Any) -> Row:
        [row] = self.rows(query, *args)
        return row

    def value(self, query: LiteralString, *args: Any) -> Any:
        [value] = self.row(query, *args).values()
        return value

    def do(self, query: LiteralString, *args: Any) -> None:
        self.conn.execute(query, args)

    def flow(self, slug: str, *steps: tuple[Any, ...], **options: int) -> None:
        """A step is its slug, its parents in one word, and options of add_step."""
        self.do(
            "select pgflow.create_flow(%s, %s, %s, %s)",
            slug,
            *(options.get(name) for name in ("max_attempts", "base_delay", "timeout")),
        )
        for step, parents, *more in steps:
            given: dict[str, Any] = more[0] if more else {}
            self.do(
                "select pgflow.add_step(%s, %s, %s, max_attempts => %s, base_delay => %s,"
                " timeout => %s, start_delay => %s, step_type => coalesce(%s, 'single'),"
                " required_input_pattern => %s, forbidden_input_pattern => %s,"
                " when_unmet => coalesce(%s, 'skip'), when_exhausted => coalesce(%s, 'fail'))",
                slug,
                step,
                parents.split(),
                *(given.get(n) for n in ("max_attempts", "base_delay", "timeout", "start_delay")),
                given.get("type"),
                text(given.get("required")),
                text(given.get("forbidden")),
                given.get("unmet"),
                given.get("exhausted"),
            )

    def start(self, slug: str, given: Any = None) -> UUID:
        return self.value("select run_id from pgflow.start_flow(%s, %s)", slug, json.dumps(given))

    def register(self, function: str = "function") -> UUID:
        """As a worker of pgflow does."""
        worker = uuid4()
        self.do(
            "insert into pgflow.workers (queue_name, worker_id, function_name)"
            " values ('queue', %s, %s)",
            worker,
            function,
        )
        return worker

    def take(self, run_id: UUID, step: str, worker: UUID | None = None) -> list[Row]:
        """Start all tasks of a step, in order."""
        return self.rows(
            "select * from pgflow.start_tasks("
            "(select flow_slug from pgflow.runs where run_id = %s),"
            " array(select message_id from pgflow.step_tasks where run_id = %s and step_slug = %s),"
            " %s) order by task_index",
            run_id,
            run_id,
            step,
            worker or self.register(),
        )

    def complete(self, run_id: UUID, step: str, output: Any = None, index: int = 0) -> list[Row]:
        query: LiteralString = "select * from pgflow.complete_task(%s, %s, %s, %s)"
        return self.rows(query, run_id, step, index, json.dumps(output))

    def fail(self, run_id: UUID, step: str, message: str = "boom", index: int = 0) -> list[Row]:
        return self.rows(
            "select * from pgflow.fail_task(%s, %s, %s, %s)", run_id, step, index, message
        )

    def run(self, run_id: UUID) -> Row:
        return self.row(RUN, run_id)

    def steps(self, run_id: UUID) -> dict[str, Row]:
        return {row["step_slug"]: row for row in self.rows(STEPS, run_id)}

    def statuses(self, run_id: UUID) -> dict[str, str]:
        return {slug: row["status"] for slug, row in self.steps(run_id).items()}

    def tasks(self, run_id: UUID) -> dict[tuple[str, int], Row]:
        rows = self.rows(TASKS, run_id)
        return {(row["step_slug"], row["task_index"]): row for row in rows}

    def notices(self) -> list[str]:
        """What the server says from now on, beside its answers."""
        said: list[str] = []
        self.conn.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        return said


def text(value: Any) -> str | None:
    return None if value is None else json.dumps(value)
