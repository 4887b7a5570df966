"""Metrics: what a worker counts, what it asks the database, and that nothing is unbounded."""

from __future__ import annotations

import asyncio
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from uuid import uuid4

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepwell import Client, Context, Flow, Settings, Stepwell, job
from stepwell.db.measure import Measured
from stepwell.errors import SettingsError
from stepwell.observe import metrics
from stepwell.observe.emit import emit, subscribed
from stepwell.observe.events import DatabaseLost, Event, TaskSucceeded
from stepwell.observe.meters import METERS
from stepwell.observe.metrics import REST, Metrics
from stepwell.worker import measuring
from stepwell.worker.worker import Worker
from tests.chaos.proxy import proxied
from tests.engine.cli_programs import Program, environment, write_program
from tests.engine.test_health import HOST
from tests.ports import free_ports

from .workshop import Workshop

pytestmark = pytest.mark.timeout(120)
gate = asyncio.Event()

torn = Flow("torn", max_attempts=2, base_delay=0)


@torn.step
async def mend(flow_input: int, ctx: Context) -> int:
    if ctx.attempt == 1:
        raise ValueError("torn")
    return flow_input


@job
async def hold(n: int) -> int:
    await gate.wait()
    return n


@job(transactional=True)
async def book(ctx: Context, n: int) -> int:
    await ctx.connection.execute("select 1")
    return n


class Page:
    """What a scrape brought, by name of a sample and its labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self._samples.get((f"stepwell_{name}", frozenset(labels.items())))

    def has(self, wanted: Iterable[tuple[str, Mapping[str, str], float]]) -> bool:
        return all(self.value(name, **labels) == value for name, labels, value in wanted)


def told_by(registry: prometheus_client.CollectorRegistry) -> Page:
    return Page(prometheus_client.generate_latest(registry).decode())


def fetched(port: int) -> Page:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return Page(answer.read().decode())


async def until(port: int, *wanted: tuple[str, Mapping[str, str], float]) -> Page:
    """The first scrape that says all of that."""
    async with asyncio.timeout(60):
        while not (page := await asyncio.to_thread(fetched, port)).has(wanted):
            await asyncio.sleep(0.1)
    return page


async def test_a_worker_counts_and_measures(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "EVERY", 0.2)
    gate.clear()
    port = free_ports()
    app = Stepwell(flows=[torn], jobs=[hold, book])
    settings: dict[str, Any] = {"metrics": "on", "health_port": port, "health_host": HOST}
    async with workshop.worker(app=app, concurrency=2, **settings):
        client = workshop.client
        for number in range(2):
            await (await client.start(torn, number)).result(timeout=60)
        await (await client.start(book.call(1))).result(timeout=60)
        held = [await client.start(hold.call(n)) for n in range(3)]
        page = await until(
            port,
            ("attempts_total", {"flow": "torn", "step": "mend", "outcome": "completed"}, 2),
            ("attempts_total", {"flow": "torn", "step": "mend", "outcome": "failed"}, 2),
            ("attempt_seconds_count", {"flow": "torn", "step": "mend"}, 4),
            ("task_wait_seconds_count", {"flow": "torn"}, 4),
            ("runs_ended_total", {"flow": "torn", "kind": "flow", "status": "completed"}, 2),
            ("runs_ended_total", {"flow": "book", "kind": "job", "status": "completed"}, 1),
            ("run_seconds_count", {"flow": "torn"}, 2),
            ("worker_running", {}, 2),
            ("worker_concurrency", {}, 2),
            ("queue_ready", {"queue": "hold"}, 1),
            ("tasks", {"stage": "running"}, 2),
            ("workers", {"health": "healthy"}, 1),
            ("database_up", {}, 1),
        )
        gate.set()
        for run in held:
            await run.result(timeout=60)
        await until(port, ("worker_running", {}, 0), ("tasks", {"stage": "running"}, 0))
    assert (page.value("queue_oldest_seconds", queue="hold") or -1) >= 0
    assert (page.value("worker_lease_seconds") or 0) > 0
    assert (page.value("worker_connections") or 0) > 0
    assert (page.value("connections", application="stepwell worker") or 0) > 0
    assert (page.value("connections_limit") or 0) > 1
    assert (page.value("batch_committed_count") or 0) > 0
    assert (page.value("turn_seconds_count", what="claim") or 0) > 0
    declared = {f"stepwell_{name.removesuffix('_total')}" for name in METERS}
    told = {name for name in page.families if not name.endswith("_created")}
    assert told == declared
    run_ids = {str(run.id) for run in held}
    assert not [
        sample
        for family in page.families.values()
        for sample in family.samples
        if run_ids & set(sample.labels.values())
    ]


async def test_a_worker_measures_once_it_is_one_itself(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "EVERY", 3600.0)
    port = free_ports()
    settings: dict[str, Any] = {"metrics": "on", "health_port": port, "health_host": HOST}
    async with workshop.worker(torn, **settings):
        await until(
            port,
            ("workers", {"health": "healthy"}, 1),
            ("workers", {"health": "lost"}, 0),
            # before there is a failure: Prometheus sees no increase where a series begins
            ("attempts_total", {"flow": "torn", "step": "mend", "outcome": "gave_up"}, 0),
            ("runs_ended_total", {"flow": "torn", "kind": "flow", "status": "failed"}, 0),
            ("outcomes_dropped_total", {"flow": "torn"}, 0),
            ("tasks_reclaimed_total", {"outcome": "failed"}, 0),
        )


async def test_without_metrics_there_are_none(workshop: Workshop) -> None:
    port = free_ports()
    async with workshop.worker(torn, health_port=port, health_host=HOST):
        with pytest.raises(HTTPError, match="404"):
            await asyncio.to_thread(fetched, port)
    with pytest.raises(SettingsError, match="health_port"):
        Worker([torn], Settings(dsn=workshop.dsn, metrics="on"))


async def test_while_the_database_is_away_nothing_is_said_of_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "EVERY", 0.2)
    port = free_ports()
    settings: dict[str, Any] = {"metrics": "on", "health_port": port, "health_host": HOST}
    async with proxied(workshop.dsn) as proxy:
        async with workshop.worker(torn, dsn=proxy.dsn, lease=60.0, **settings):
            before = await until(port, ("database_up", {}, 1), ("dead_letters", {}, 0))
            proxy.refusing = True
            proxy.cut_all()
            away = await until(port, ("database_up", {}, 0))
            proxy.refusing = False
            await until(port, ("database_up", {}, 1), ("dead_letters", {}, 0))
    assert before.value("database_outages_total") == 0
    assert away.value("database_outages_total") == 1
    assert away.value("dead_letters") is None


async def test_workers_share_the_registry_of_their_program(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "_shared", [])
    registry = prometheus_client.CollectorRegistry()
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    async with workshop.worker(torn, metrics="shared"), workshop.worker(torn, metrics="shared"):
        await (await workshop.client.start(torn, 1)).result(timeout=60)
        ended = {"flow": "torn", "kind": "flow", "status": "completed"}
        async with asyncio.timeout(60):  # it is told of when its commit is answered
            while not (page := told_by(registry)).value("runs_ended_total", **ended):
                await asyncio.sleep(0.02)
    assert page.value("worker_concurrency") == 20
    assert page.value("runs_ended_total", **ended) == 1


def test_labels_are_bounded_and_a_lost_database_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 10)
    counting = Metrics()
    with subscribed(counting):
        for number in range(30):
            emit(TaskSucceeded(uuid4(), f"flow-{number}", "step", 0, 1, 0.1))
        emit(DatabaseLost("gone"))
    counting.sampled([Measured("dead_letters", "", 3.0), Measured("queue_ready", "q", 1.0)])
    page = Page(counting.page()[1].decode())
    series = [s for s in page.families["stepwell_attempts"].samples if s.name.endswith("_total")]
    assert len(series) == 10 + 1
    many = {"flow": REST, "step": REST, "outcome": "completed"}
    assert page.has(
        [
            ("attempts_total", many, 20),
            ("database_outages_total", {}, 1),
            ("dead_letters", {}, 3),
            ("queue_ready", {"queue": "q"}, 1),
        ]
    )
    counting.sampled(None)
    assert Page(counting.page()[1].decode()).value("dead_letters") is None


def test_what_is_expected_takes_no_names_from_what_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 10)
    counting = Metrics()
    counting.expect([("flow", f"idle-{number}", "step") for number in range(11)], ["mail"])
    with subscribed(counting):
        emit(TaskSucceeded(uuid4(), "busy", "step", 0, 1, 0.1))
    page = Page(counting.page()[1].decode())
    busy = {"flow": "busy", "step": "step", "outcome": "completed"}
    dead = {"queue": "mail", "outcome": "dead"}
    assert page.has(
        [("attempts_total", busy, 1), ("tasks_reclaimed_total", {"outcome": "failed"}, 0)]
    )
    assert page.value("messages_total", **dead) is None
    counting.expect([("job", "idle", "perform")], ["mail"])
    page = Page(counting.page()[1].decode())
    idle = {"flow": "idle", "step": "perform", "outcome": "gave_up"}
    assert page.has([("attempts_total", idle, 0), ("messages_total", dead, 0)])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SettingsError, match=r"pip install 'stepwell\[prometheus\]'"):
        Metrics()


def test_a_subscriber_that_raises_harms_nobody() -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("no")

    counting = Metrics()
    with subscribed(broken, counting):
        emit(DatabaseLost("gone"))
    assert Page(counting.page()[1].decode()).value("database_outages_total") == 1


CREW = """
from stepwell import Flow, Stepwell

greet = Flow("greet")

@greet.step
def hello(flow_input: str) -> str:
    return f"hello {flow_input}"

app = Stepwell(flows=[greet])
"""


def test_each_process_has_metrics_of_its_own(dsn: str, tmp_path: Path) -> None:
    port = free_ports(3)
    program = Program(
        *("worker", write_program(tmp_path, CREW), "--dsn", dsn, "--logs", "json"),
        *("--processes", "2", "--health-port", str(port)),
        environment=environment(tmp_path, STEPWELL_METRICS="on", STEPWELL_HEALTH_HOST=HOST),
        cwd=tmp_path,
    )
    try:
        program.wait_for("WorkerStarted", times=2)
        with Client.sync(dsn) as client:
            runs = [client.start("greet", "ada") for _ in range(6)]
            for run in runs:
                run.result(timeout=60)
        until_ended(6, port + 1, port + 2)
        pages = [fetched(port + number) for number in (1, 2)]
        with pytest.raises(HTTPError, match="404"):
            fetched(port)
    finally:
        program.close()
    assert sum(map(ended_on, pages)) == 6


def ended_on(page: Page) -> float:
    return page.value("runs_ended_total", flow="greet", kind="flow", status="completed") or 0


def until_ended(runs: int, *ports: int) -> None:
    """A run is counted when its commit is answered; by then its client may know of its end."""
    end = time.monotonic() + 60
    while sum(ended_on(fetched(port)) for port in ports) < runs:
        assert time.monotonic() < end, "not all were counted"
        time.sleep(0.05)
