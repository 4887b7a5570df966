"""`stepwell bench`: what a server can do, in a database of its own that is dropped afterwards."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import psycopg
from cyclopts import Parameter
from rich.table import Table

from stepwell.cli.bench_flows import app, nothing
from stepwell.cli.database import AsJson, Dsn, development_database
from stepwell.cli.exits import Exit
from stepwell.cli.output import console, note, print_json
from stepwell.client.client import Client
from stepwell.compile.deploy import deploy
from stepwell.db import floor
from stepwell.db.link import Link, Outage
from stepwell.errors import StepwellError

LOOK = 0.05  # seconds between two looks whether all has ended
SAMPLES = 50  # jobs that are waited for one after the other
BATCH = 100  # rows in a statement of the floor


@dataclass(frozen=True, slots=True)
class Drain:
    """So many runs of a flow at once, and how many tasks they are."""

    flow: str
    runs: int
    tasks: int
    value: str = '{"x": 1}'


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured: the median of the rounds, and the share of the floor of the same run."""

    what: str
    tasks_per_second: float
    of_floor: float


@dataclass(frozen=True, slots=True)
class Report:
    rows: list[Row]
    latency_p50: float
    latency_p95: float


def bench(
    *,
    tasks: Annotated[int, Parameter(help="Tasks in each measurement.")] = 3000,
    rounds: Annotated[int, Parameter(help="How often each is measured; the median counts.")] = 3,
    concurrency: Annotated[int, Parameter(help="Tasks that its worker runs at once.")] = 100,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Measure what the engine does on this server with this machine.

    One worker process runs tasks that do nothing, in a database that is made for
    it and dropped at the end. The floor is bare SQL that claims and completes the
    same rows: the share of it compares between machines, tasks per second do not.
    """
    if min(tasks, rounds, concurrency) < 1:
        raise StepwellError("--tasks, --rounds and --concurrency must be at least 1")
    with development_database(dsn) as address, scratch_on(address) as fresh:
        report = measured(fresh, tasks, rounds, concurrency)
    if json:
        print_json(
            {"rows": report.rows, "latency": {"p50": report.latency_p50, "p95": report.latency_p95}}
        )
    else:
        show(report)
    return Exit.OK


@contextmanager
def scratch_on(address: str) -> Generator[str]:
    try:
        with floor.scratch(address) as fresh:
            yield fresh
    except psycopg.errors.InsufficientPrivilege as error:
        raise StepwellError(
            f"{error.diag.message_primary}: this measures in a database of its own; use a role "
            "that may make one, or no --dsn: then it is the embedded Postgres"
        ) from error


def measured(dsn: str, tasks: int, rounds: int, concurrency: int) -> Report:
    asyncio.run(prepare(dsn))
    drains = {
        "flow of one step": Drain("bench_single", tasks, tasks),
        "flow of three steps": Drain("bench_chain", max(1, tasks // 3), max(1, tasks // 3) * 3),
        "map": Drain("bench_fan", 1, tasks + 2, f'{{"n": {tasks}}}'),
        "job": Drain("bench_job", tasks, tasks),
        "machine of three steps": Drain(
            "bench_machine", max(1, tasks // 3), max(1, tasks // 3) * 3
        ),
    }
    speeds: dict[str, list[float]] = {"floor": [], **{name: [] for name in drains}}
    with psycopg.connect(dsn, autocommit=True) as conn:
        for number in range(rounds):  # in turn, so that a slow minute slows all of them
            note(f"round {number + 1} of {rounds}")
            version = floor.preload(conn, "bench_single", tasks, '{"x": 1}')
            speeds["floor"].append(tasks / floor.drain(conn, "bench_single", version, BATCH))
            for name, drain in drains.items():
                speeds[name].append(drained(conn, dsn, drain, concurrency))
        note("latency")
        floor.preload(conn, "bench_job", 1, '{"x": 1}')
        with working(dsn, concurrency) as check:
            until_drained(conn, check)
            waits = asyncio.run(latencies(dsn))
    middle = {name: statistics.median(found) for name, found in speeds.items()}
    rows = [Row(name, speed, speed / middle["floor"]) for name, speed in middle.items()]
    return Report(rows, statistics.median(waits), statistics.quantiles(waits, n=20)[-1])


def drained(conn: psycopg.Connection[Any], dsn: str, drain: Drain, concurrency: int) -> float:
    """Tasks per second, from the first claim to the last outcome."""
    floor.preload(conn, drain.flow, drain.runs, drain.value)
    with working(dsn, concurrency) as check:
        until_drained(conn, check)
    return drain.tasks / floor.span(conn)


def until_drained(conn: psycopg.Connection[Any], check: Callable[[], None]) -> None:
    while not floor.all_ended(conn):
        check()
        time.sleep(LOOK)


@contextmanager
def working(dsn: str, concurrency: int) -> Generator[Callable[[], None]]:
    """A worker process; yields what raises when it has ended by itself."""
    target = "stepwell.cli.bench_flows:app"
    words = ["--quiet", "--processes=1", f"--concurrency={concurrency}", "--until-eof"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "stepwell", "worker", target, *words],
        stdin=subprocess.PIPE,
        env={**os.environ, "STEPWELL_DSN": dsn},
    )

    def check() -> None:
        if worker.poll() is not None:
            raise StepwellError(f"the worker ended with exit code {worker.returncode}")

    try:
        yield check
    finally:
        worker.terminate()
        worker.communicate()


async def prepare(dsn: str) -> None:
    link = Link(dsn, Outage())
    await deploy(link, app)
    await link.close()


async def latencies(dsn: str) -> list[float]:
    """Seconds from the start of a job to its result, with an idle worker."""
    found: list[float] = []
    async with Client(dsn) as client:
        for n in range(SAMPLES):
            began = time.perf_counter()
            await (await client.enqueue(nothing.call(x=n))).result()
            found.append(time.perf_counter() - began)
    return found


def show(report: Report) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("tasks/s", justify="right")
    table.add_column("of the floor", justify="right")
    for row in report.rows:
        table.add_row(row.what, f"{row.tasks_per_second:,.0f}", f"{row.of_floor:.0%}")
    out = console()
    out.print(table)
    out.print(
        f"from start to result: {report.latency_p50 * 1000:.0f} ms (median),"
        f" {report.latency_p95 * 1000:.0f} ms (19 of 20)"
    )
