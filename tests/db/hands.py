"""A client and a worker moved by hand: each method is one call of the SQL core."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg

from stepwell.db.claim import Task, claim_tasks, release_tasks
from stepwell.db.commit import Entry, Turn, commit_and_claim
from stepwell.db.define import ensure_flow
from stepwell.db.maintain import Promoted, Reclaimed, promote_tasks, reclaim_tasks
from stepwell.db.presence import Beat, heartbeat, leave, register_worker
from stepwell.db.signal import Sent, send_signal
from stepwell.db.start import Started, start_runs
from stepwell.db.steer import cancel_run, retry_run

from .shapes import Shape, text

Connection = psycopg.Connection[Any]


@dataclass(slots=True)
class Hands:
    """Serves the lanes that it defined or was given; `id` is the worker's."""

    conn: Connection
    id: UUID = field(default_factory=uuid4)
    lanes: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    since: datetime | None = None  # where its clock was stopped

    def define(self, shape: Shape) -> int:
        """Deploy a shape and serve it; answers its version id."""
        version = ensure_flow(text(shape)).on_sync(self.conn)[0].version_id
        lane = (shape["options"].get("queue") or shape["slug"], version)
        if lane not in self.lanes:
            self.lanes.append(lane)
        return version

    def start(
        self, slug: str, *inputs: Any, keys: Sequence[str | None] | None = None
    ) -> list[UUID]:
        return [row.run_id for row in self.started(slug, list(inputs) or [{}], keys)]

    def started(
        self,
        slug: str,
        inputs: Sequence[Any],
        keys: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[Started]:
        """The options are those of start.sql, the same for all."""
        given = [json.dumps(each) for each in inputs]
        ids = [uuid4() for _ in inputs]
        said = [json.dumps(options)] * len(ids) if options else None
        call = start_runs(slug, given, ids, keys or [None] * len(ids), options=said)
        return call.on_sync(self.conn)

    def begin(self, slug: str, input: Any = None, key: str | None = None, **options: Any) -> UUID:
        """One run, with what was said at its start."""
        return self.started(slug, [input or {}], [key], **options)[0].run_id

    def send(
        self, to: UUID | str, name: str, payload: Any = None, dedup: str | None = None
    ) -> Sent:
        """A signal to a run, or to who has the key."""
        run_id, key = (to, None) if isinstance(to, UUID) else (None, to)
        return send_signal(run_id, key, name, json.dumps(payload), dedup).on_sync(self.conn)[0]

    def register(self, lease: float = 60) -> None:
        queues = [queue for queue, _ in self.lanes]
        register_worker(self.id, "hands", queues, lease, "here", 1).on_sync(self.conn)

    def claim(self, want: int = 1000) -> list[Task]:
        queues, versions = self._columns()
        return claim_tasks(self.id, queues, versions, want).on_sync(self.conn)

    def commit(self, entries: Iterable[Entry], want: int = 0) -> Turn:
        call = commit_and_claim(self.id, list(entries), *self._columns(), want)
        rows = self.conn.execute(call.sql, call.args, binary=True).fetchall()
        return Turn(
            stale=frozenset(row[2] for row in rows if row[0] == "stale"),
            ready=tuple(row[1] for row in rows if row[0] == "ready"),
            tasks=tuple(Task(*row[2:]) for row in rows if row[0] is None),
            contended=any(row[0] == "contended" for row in rows),
            delayed=any(row[0] == "delayed" for row in rows),
        )

    def complete(self, tasks: Iterable[Task], output: Any = None, want: int = 0) -> Turn:
        return self.commit([completed(task, output) for task in tasks], want)

    def fail(self, tasks: Iterable[Task], message: str = "boom", permanent: bool = False) -> Turn:
        return self.commit([failed(task, message, permanent) for task in tasks])

    def drain(self, output: Any = None) -> int:
        """Complete whatever is ready until nothing is; answers how many tasks that were."""
        done = 0
        while tasks := self.claim():
            self.complete(tasks, output)
            done += len(tasks)
        return done

    def release(self, tasks: Sequence[Task]) -> int:
        ids, tokens = [t.message_id for t in tasks], [t.claim_token for t in tasks]
        return release_tasks(ids, tokens).on_sync(self.conn)[0].count

    def promote(self) -> Promoted:
        return promote_tasks().on_sync(self.conn)[0]

    def reclaim(self) -> Reclaimed:
        return reclaim_tasks().on_sync(self.conn)[0]

    def beat(self) -> Beat:
        return heartbeat(self.id).on_sync(self.conn)[0]

    def leave(self) -> None:
        leave(self.id).on_sync(self.conn)

    def cancel(self, run_id: UUID) -> bool:
        return cancel_run(run_id).on_sync(self.conn)[0].done

    def retry(self, run_id: UUID) -> bool:
        return retry_run(run_id).on_sync(self.conn)[0].done

    def rows(self, query: LiteralString, *args: Any) -> list[tuple[Any, ...]]:
        return self.conn.execute(query, args).fetchall()

    def value(self, query: LiteralString, *args: Any) -> Any:
        return self.rows(query, *args)[0][0]

    def status(self, run_id: UUID) -> str:
        return self.value("select status from pgflow.runs where run_id = %s", run_id)

    def stage(self, run_id: UUID) -> str:
        """Where the task of a machine or a job is."""
        return self.value("select stage from pgflow.step_tasks where run_id = %s", run_id)

    def slots(self) -> list[str]:
        """The gates of all slots that are taken."""
        return [gate for (gate,) in self.rows("select gate from pgflow.slots order by 1")]

    def limit(self, kind: str, name: str, capacity: int, per_second: float | None = None) -> None:
        given = {"kind": kind, "name": name, "capacity": capacity, "perSecond": per_second}
        self.conn.execute("select pgflow.ensure_limits(%s)", (json.dumps([given]),))

    def steps(self, run_id: UUID) -> dict[str, str]:
        query: LiteralString = "select step_slug, status from pgflow.step_states where run_id = %s"
        return dict(self.rows(query, run_id))

    def lost(self) -> None:
        """The worker's lease lapses, as if it had died a while ago."""
        self.conn.execute(
            "update pgflow.workers set stopped_at = pgflow.now() where worker_id = %s", (self.id,)
        )

    def at(self, moment: str) -> None:
        """Move the clock of this connection: an interval from the server's time, or from where
        it was stopped."""
        self.conn.execute(
            "select set_config('pgflow.now',"
            " (coalesce(%s, clock_timestamp()) + %s::interval)::text, false)",
            (self.since, moment),
        )

    def stop_clock(self) -> None:
        """Time stands still but for `at`: what a slow machine takes is not seen in what is due."""
        self.since = self.value("select clock_timestamp()")
        self.at("0")

    def _columns(self) -> tuple[list[str], list[int]]:
        return [queue for queue, _ in self.lanes], [version for _, version in self.lanes]


def completed(task: Task, output: Any = None) -> Entry:
    return Entry(task.message_id, task.claim_token, "completed", json.dumps(output))


def failed(task: Task, message: str = "boom", permanent: bool = False) -> Entry:
    return Entry(
        task.message_id,
        task.claim_token,
        "failed_permanently" if permanent else "failed",
        error_type="ValueError",
        error_message=message,
    )
