"""Large values, each verb beside the bare insert of the same value: python -m bench.large.

Rounds alternate over the values, on one server; a ratio to the floor of the same round is the
figure. See README.md for the method.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import Connection

from bench.machine import cpu_of, describe
from stepwell import Flow
from stepwell.compile.deploy import deploy
from stepwell.db import migrate
from stepwell.db.claim import Task, claim_tasks
from stepwell.db.commit import Entry, commit_and_claim, turn_of
from stepwell.db.link import Link, Outage
from stepwell.db.start import start_runs
from stepwell.define.app import Stepwell
from stepwell.dev.postgres import EmbeddedPostgres

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off"}
MEGABYTE = 2**20
FLOOR = "bare insert"

one = Flow[Any, Any]("large_one")
two = Flow[Any, Any]("large_two")
fan = Flow[list[Any], Any]("large_map")


@one.step
async def only(flow_input: Any) -> Any: ...


@two.step
async def make(flow_input: Any) -> Any: ...


@two.step
async def take(make: Any) -> Any: ...


@fan.map
async def each(item: Any) -> Any: ...


Seconds = dict[str, float]


class Hand:
    """A client and a worker moved by hand; `seconds` is what each call took."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.conn = conn
        self.id = uuid4()
        self.lanes: list[tuple[str, int]] = conn.execute(
            "select flow_slug, version_id from pgflow.versions"
        ).fetchall()
        self.seconds: Seconds = {}
        self.busy: Seconds = {}  # of that, the server's processor

    @contextmanager
    def clock(self, what: str) -> Generator[None]:
        self.conn.execute("checkpoint")
        began, used = time.perf_counter(), cpu_of([self.conn.info.backend_pid])
        yield
        self.seconds[what] = time.perf_counter() - began
        self.busy[what] = cpu_of([self.conn.info.backend_pid]) - used

    def floor(self, what: str, values: list[str]) -> None:
        """Rows with nothing but these values."""
        self.conn.execute("create table if not exists public.bare (value jsonb)")
        self.conn.execute("truncate public.bare")
        with self.clock(what):
            self.conn.execute(
                "insert into public.bare select unnest(%b::text[]::jsonb[])", (values,)
            )

    def start(self, slug: str, value: str, what: str | None = None) -> None:
        call = start_runs(slug, [value], [uuid4()], [None])
        if what is None:
            call.on_sync(self.conn)
            return
        with self.clock(what):
            call.on_sync(self.conn)

    def claim(self, want: int = 100_000) -> list[Task]:
        queues, versions = self._columns()
        return claim_tasks(self.id, queues, versions, want).on_sync(self.conn)

    def commit(self, tasks: list[Task], outputs: list[str], want: int = 0) -> list[Task]:
        entries = [
            Entry(task.message_id, task.claim_token, "completed", output)
            for task, output in zip(tasks, outputs, strict=True)
        ]
        call = commit_and_claim(self.id, entries, *self._columns(), want)
        turn = turn_of(self.conn.execute(call.sql, call.args, binary=True).fetchall())
        assert not turn.stale
        return list(turn.tasks)

    def forget(self) -> None:
        self.conn.execute("truncate pgflow.runs, pgflow.step_states, pgflow.step_tasks")

    def _columns(self) -> tuple[list[str], list[int]]:
        return [queue for queue, _ in self.lanes], [version for _, version in self.lanes]


def of_value(hand: Hand, value: str) -> None:
    """A large input, a large outcome in the middle of a run and at its end."""
    hand.floor(FLOOR, [value])
    hand.start("large_one", value, "start")
    with hand.clock("claim"):
        tasks = hand.claim()
    with hand.clock("last outcome"):
        hand.commit(tasks, [value])
    with hand.clock("result"):
        hand.conn.execute("select output::text from pgflow.runs").fetchall()
    hand.forget()
    hand.start("large_two", "1")
    tasks = hand.claim()
    with hand.clock("outcome"):
        hand.commit(tasks, [value])
    with hand.clock("claim of next"):
        tasks = hand.claim()
    hand.forget()


def of_map(hand: Hand, value: str) -> None:
    """A large list as the input of a map: elements are copied, outputs collected."""
    items = [json.dumps(item) for item in json.loads(value)]
    hand.floor(FLOOR, [value])
    hand.floor("bare elements", items)
    hand.start("large_map", value, "start")
    began = 0
    spent, busy = 0.0, 0.0
    with hand.clock("claims"):
        tasks = hand.claim()
    assert len(tasks) == len(items)
    while began < len(items):
        batch = tasks[began : began + 500]
        outputs = [items[task.task_index or 0] for task in batch]
        began += 500
        with hand.clock("last outcomes"):
            hand.commit(batch, outputs)
        spent += hand.seconds["last outcomes"]
        busy += hand.busy["last outcomes"]
    hand.seconds["other outcomes"] = spent - hand.seconds["last outcomes"]
    hand.busy["other outcomes"] = busy - hand.busy["last outcomes"]
    hand.forget()


def values(size: int) -> dict[str, tuple[Callable[[Hand, str], None], str]]:
    chance = random.Random(1)
    words = [f"{chance.getrandbits(64):x}" for _ in range(1000)]
    prose = " ".join(chance.choices(words, k=size // 16))
    numbers = [chance.randrange(10**6) for _ in range(size // 8)]
    objects = [
        {"id": n, "name": chance.choice(words), "price": n / 100, "tags": words[n % 9 : n % 9 + 2]}
        for n in range(size // 100)
    ]
    elements = [
        {"id": n, "text": " ".join(chance.choices(words, k=55))} for n in range(size // 1000)
    ]
    return {
        "text": (of_value, json.dumps(prose)),
        "numbers": (of_value, json.dumps(numbers)),
        "objects": (of_value, json.dumps(objects)),
        "map": (of_map, json.dumps(elements)),
    }


async def install(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await migrate.migrate(conn)
    link = Link(dsn, Outage())
    await deploy(link, Stepwell(flows=[one, two, fan]))
    await link.close()


Rounds = dict[str, list[tuple[Seconds, Seconds]]]


def measure(dsn: str, megabytes: int, rounds: int, only: str | None) -> Rounds:
    results: Rounds = {}
    chosen = values(megabytes * MEGABYTE)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for number in range(rounds):
            for name, (run, value) in chosen.items():
                if only in (None, name):
                    hand = Hand(conn)
                    run(hand, value)
                    results.setdefault(name, []).append((hand.seconds, hand.busy))
                    print(f"round {number + 1} {name}", file=sys.stderr)
    return results


def table(results: Rounds) -> dict[str, dict[str, Seconds]]:
    rows: dict[str, dict[str, Seconds]] = {}
    for name, rounds in results.items():
        print(f"\n{name:16} {'seconds':>9} {'of floor':>9} {'processor':>10} {'of floor':>9}")
        rows[name] = {}
        for what in rounds[0][0]:
            row = {
                "seconds": statistics.median(s[what] for s, _ in rounds),
                "of_floor": statistics.median(s[what] / s[FLOOR] for s, _ in rounds),
                "processor": statistics.median(b[what] for _, b in rounds),
                "processor_of_floor": statistics.median(b[what] / b[FLOOR] for _, b in rounds),
            }
            rows[name][what] = row
            seconds, of_floor, busy, busy_of_floor = row.values()
            print(
                f"{what:16} {seconds:9.2f} {of_floor:9.1f} {busy:10.2f} {busy_of_floor:9.1f}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=20, help="of JSON text, of each value")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="text, numbers, objects or map")
    parser.add_argument("--dsn", help="an empty database; without it, an embedded Postgres")
    parser.add_argument("--save", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stepwell-bench-", dir="/tmp") as home:
        Path(home).chmod(0o711)
        server = EmbeddedPostgres(Path(home) / "pg", settings=SETTINGS)
        dsn = given.dsn or server.start()
        try:
            asyncio.run(install(dsn))
            rows = table(measure(dsn, given.megabytes, given.rounds, given.only))
        finally:
            if not given.dsn:
                server.stop()
    if given.save:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        options = {key: str(value) for key, value in vars(given).items()}
        report = {"at": stamp, "machine": describe(), "options": options, "results": rows}
        given.save.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
