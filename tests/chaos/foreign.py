"""A worker as people wrote them for pgflow: plain SQL calls, and nothing of ours.

As a program: `python -m tests.chaos.foreign '{"dsn": ..., "flows": [...]}' LOG`. It serves each
flow in a thread, and its handlers are those of mixed.py."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString, NamedTuple
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

BEAT = 2.0  # at most every 5 s
Connection = psycopg.Connection[Any]


class Message(NamedTuple):
    msg_id: int
    read_ct: int
    enqueued_at: Any
    vt: Any
    message: Any
    headers: Any


class StepTask(NamedTuple):
    flow_slug: str
    run_id: UUID
    step_slug: str
    input: Any
    msg_id: int
    task_index: int
    flow_input: Any


Handler = Callable[[StepTask, int], Any]


@dataclass(slots=True)
class ForeignWorker:
    """One flow, one connection. `id` is its row in pgflow.workers."""

    conn: Connection
    flow: str
    id: UUID = field(default_factory=uuid4)
    batch: int = 10

    def register(self, name: str = "foreign") -> None:
        self.rows("select pgflow.track_worker_function(%s)", name)
        self.conn.execute(
            "insert into pgflow.workers (queue_name, worker_id, function_name) values (%s, %s, %s)",
            (self.flow, self.id, name),
        )

    def beat(self) -> bool:
        """Whether somebody wants it to stop."""
        return self.rows(
            "update pgflow.workers set last_heartbeat_at = clock_timestamp()"
            " where worker_id = %s returning deprecated_at is not null",
            self.id,
        ) == [(True,)]

    def poll(self, seconds: int = 2, vt: int = 5) -> list[Message]:
        found = self.rows(
            "select * from pgmq.read_with_poll(queue_name => %s, vt => %s, qty => %s,"
            " max_poll_seconds => %s, poll_interval_ms => 100)",
            *(self.flow, vt, self.batch, seconds),
        )
        return [Message(*row) for row in found]

    def start(self, messages: list[Message]) -> list[StepTask]:
        started = self.rows(
            "select * from pgflow.start_tasks(flow_slug => %s, msg_ids => %s::bigint[],"
            " worker_id => %s)",
            *(self.flow, [message.msg_id for message in messages], self.id),
        )
        return [StepTask(*row) for row in started]

    def complete(self, task: StepTask, output: Any) -> None:
        self.rows(
            "select * from pgflow.complete_task(%s, %s, %s, %s)",
            *(task.run_id, task.step_slug, task.task_index, Jsonb(output)),
        )

    def fail(self, task: StepTask, message: str) -> None:
        self.rows(
            "select * from pgflow.fail_task(%s, %s, %s, %s)",
            *(task.run_id, task.step_slug, task.task_index, message),
        )

    def stop(self) -> None:
        self.rows("select pgflow.mark_worker_stopped(%s)", self.id)

    def rows(self, query: LiteralString, *args: Any) -> list[tuple[Any, ...]]:
        return self.conn.execute(query, args).fetchall()

    def handle(self, task: StepTask, message: Message, handler: Handler) -> None:
        """An error of complete_task counts as one of the handler, as with pgflow's worker."""
        try:
            self.complete(task, handler(task, message.read_ct))
        except Exception as error:
            self.fail(task, str(error))

    def run(self, handler: Handler) -> None:
        """Until it is deprecated."""
        self.register(f"foreign-{os.getpid()}")
        beaten = 0.0
        while True:
            if time.monotonic() - beaten > BEAT:
                if self.beat():
                    break
                beaten = time.monotonic()
            messages = {message.msg_id: message for message in self.poll()}
            for task in self.start(list(messages.values())) if messages else ():
                self.handle(task, messages[task.msg_id], handler)
        self.stop()


def serve(dsn: str, flow: str, handler: Handler) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        ForeignWorker(conn, flow).run(handler)


if __name__ == "__main__":
    from tests.chaos import journal, mixed

    said: dict[str, Any] = json.loads(sys.argv[1])
    journal.open_at(Path(sys.argv[2]))
    for slug in said["flows"]:
        threading.Thread(target=serve, args=(said["dsn"], slug, mixed.handle)).start()
