"""Runs drained by one worker process, beside the floor, in one run: python -m bench.throughput.

Rounds alternate (floor, single, chain, floor, …) on one server, so that a slow minute of the
machine slows both sides; the ratio of the medians is the figure. See README.md for the method.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from bench.machine import cpu_of, describe, family
from stepwell.cli.bench_flows import app, nothing
from stepwell.client.client import Client
from stepwell.compile.deploy import deploy
from stepwell.db import floor, migrate
from stepwell.db.link import Link, Outage
from stepwell.dev.postgres import EmbeddedPostgres

SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "8GB", "autovacuum": "off"}
Drain = Callable[[], dict[str, float]]


class Bench:
    def __init__(self, dsn: str, runs: int, concurrency: int, batch: int) -> None:
        self.dsn = dsn
        self.runs = runs
        self.concurrency = concurrency
        self.batch = batch
        self.conn: Connection[Any] = psycopg.connect(dsn, autocommit=True)

    def preload(
        self, flow: str, runs: int, value: str = '{"x": 1}', option: str | None = None
    ) -> int:
        """Only these runs in the tables, ready; the same start for every drain."""
        version = floor.preload(self.conn, flow, runs, value, option)
        self.conn.execute("checkpoint")
        return version

    def drain_floor(self) -> dict[str, float]:
        version = self.preload("bench_single", self.runs)
        with self.measured() as used:
            seconds = floor.drain(self.conn, "bench_single", version, self.batch)
        return {"tasks_per_second": self.runs / seconds, **used.per(self.runs)}

    def drain_flow(
        self,
        flow: str,
        runs: int,
        tasks: int,
        value: str = '{"x": 1}',
        option: str | None = None,
    ) -> Drain:
        def drain() -> dict[str, float]:
            self.preload(flow, runs, value, option)
            worker = subprocess.Popen(
                [sys.executable, "-m", "bench.flows", self.dsn, str(self.concurrency)]
            )
            try:
                with self.measured(worker.pid) as used:
                    self.wait_until_drained(worker)
            finally:
                worker.send_signal(signal.SIGTERM)
                worker.wait()
            return {"tasks_per_second": tasks / floor.span(self.conn), **used.per(tasks)}

        return drain

    def wait_until_drained(self, worker: subprocess.Popen[bytes]) -> None:
        while not floor.all_ended(self.conn):
            if worker.poll() is not None:
                raise SystemExit(f"the worker ended with {worker.returncode}")
            time.sleep(0.05)

    def measured(self, worker: int | None = None) -> Used:
        return Used(self.conn, worker)


class Used:
    """Processor time and WAL between entering and leaving."""

    def __init__(self, conn: Connection[Any], worker: int | None) -> None:
        self._conn = conn
        self._worker = worker

    def __enter__(self) -> Used:
        self._began = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        ended = self._read()
        self._spent = [after - before for before, after in zip(self._began, ended, strict=True)]

    def per(self, tasks: int) -> dict[str, float]:
        worker, postgres, wal = self._spent
        return {
            "worker_cpu_us": worker / tasks * 1e6,
            "postgres_cpu_us": postgres / tasks * 1e6,
            "wal_bytes": wal / tasks,
        }

    def _read(self) -> tuple[float, float, float]:
        row = self._conn.execute(
            "select pg_current_wal_lsn() - '0/0'::pg_lsn,"
            " split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int"
        ).fetchone()
        assert row is not None
        worker = cpu_of([self._worker]) if self._worker else 0.0
        return worker, cpu_of(family(row[1])), float(row[0])


def enqueue(dsn: str, jobs: int, rounds: int) -> dict[str, float]:
    """Seconds for one enqueue_many of so many jobs, through the client."""

    async def once(client: Client) -> float:
        began = time.perf_counter()
        await client.enqueue_many([nothing.call(x=n) for n in range(jobs)])
        return time.perf_counter() - began

    async def all_rounds() -> list[float]:
        async with Client(dsn) as client:
            return [await once(client) for _ in range(rounds + 1)][1:]

    seconds = asyncio.run(all_rounds())
    print(
        f"\nenqueue_many of {jobs:,}: {statistics.median(seconds):.2f} s"
        f" ({min(seconds):.2f} - {max(seconds):.2f})"
    )
    return {"seconds": statistics.median(seconds), "jobs": jobs}


def table(results: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    base = statistics.median(r["tasks_per_second"] for r in results["floor"])
    rows: dict[str, dict[str, float]] = {}
    print(
        f"\n{'':14} {'tasks/s':>9} {'range':>17} {'of floor':>9} "
        f"{'worker µs':>10} {'postgres µs':>12} {'WAL B':>7}"
    )
    for name, rounds in results.items():
        speeds = [r["tasks_per_second"] for r in rounds]
        median = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        rows[name] = {**median, "of_floor": median["tasks_per_second"] / base}
        print(
            f"{name:14} {median['tasks_per_second']:9,.0f} "
            f"{min(speeds):8,.0f} -{max(speeds):8,.0f} {rows[name]['of_floor']:9.0%} "
            f"{median['worker_cpu_us']:10.0f} {median['postgres_cpu_us']:12.0f} "
            f"{median['wal_bytes']:7.0f}"
        )
    return rows


async def install(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await migrate.migrate(conn)
    link = Link(dsn, Outage())
    await deploy(link, app)
    await link.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=100)
    parser.add_argument("--batch", type=int, default=100, help="rows per statement of the floor")
    parser.add_argument("--save", type=Path, help="write the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stepwell-bench-", dir="/tmp") as home:
        Path(home).chmod(0o711)
        server = EmbeddedPostgres(Path(home) / "pg", settings=SETTINGS)
        dsn = server.start()
        try:
            asyncio.run(install(dsn))
            bench = Bench(dsn, given.runs, given.concurrency, given.batch)
            rows = table(rounds(bench, given.rounds))
            rows["enqueue_many"] = enqueue(dsn, given.runs, given.rounds)
            bench.conn.close()
        finally:
            server.stop()
    if given.save:
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        options = {key: str(value) for key, value in vars(given).items()}
        report = {"at": stamp, "machine": describe(), "options": options, "results": rows}
        given.save.write_text(json.dumps(report, indent=2) + "\n")


def rounds(bench: Bench, count: int) -> dict[str, list[dict[str, float]]]:
    runs = bench.runs
    drains: dict[str, Drain] = {
        "floor": bench.drain_floor,
        "single": bench.drain_flow("bench_single", runs, runs),
        "chain": bench.drain_flow("bench_chain", runs // 3, runs // 3 * 3),
        "map": bench.drain_flow("bench_fan", 1, runs + 2, json.dumps({"n": runs})),
        "job": bench.drain_flow("bench_job", runs, runs),
        "machine": bench.drain_flow("bench_machine", runs // 3, runs // 3 * 3, '{"x": 1}'),
        "keyed job": bench.drain_flow("bench_job", runs, runs, option="key/"),
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name in drains}
    for number in range(count):
        for name, drain in drains.items():
            results[name].append(drain())
            print(
                f"round {number + 1} {name}: {results[name][-1]['tasks_per_second']:,.0f} tasks/s",
                file=sys.stderr,
            )
    return results


if __name__ == "__main__":
    main()
