"""Spans: a client's start, the attempts of its run in whatever process, and what they start."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import propagate, trace
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from stepwell import (
    Client,
    Done,
    Flow,
    Machine,
    MachineContext,
    MessageContext,
    RetryPolicy,
    Settings,
    Spawn,
    Stepwell,
    job,
    queue_worker,
    step,
)
from stepwell.cli.logs import JsonLines
from stepwell.observe.emit import subscribed
from stepwell.observe.events import Event, MessageArchived, RunEnded, TaskStarted
from stepwell.observe.traces import Traces, carried, current_ids, resumed
from stepwell.testing import Kit
from tests.engine.cli_programs import Program, environment, write_program

from .workshop import Workshop

pytestmark = pytest.mark.timeout(120)

PROGRAM = """
import logging, os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from stepwell import Flow, Spawn, Stepwell, job

class Lines(SpanExporter):
    def export(self, spans):
        with open(os.environ["SPANS"], "a") as file:
            file.writelines(span.to_json(indent=None) + "\\n" for span in spans)
        return SpanExportResult.SUCCESS

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")

@job(process=True)
def print_label(n: int) -> int:
    with tracer.start_as_current_span("inside", attributes={"pid": os.getpid()}):
        return n

parcel = Flow("parcel", max_attempts=2, base_delay=0)

@parcel.step
def pack(flow_input: int, ctx) -> int:
    if ctx.attempt == 1:
        raise ValueError("the box is torn")
    logging.getLogger("shop").warning("packed it")
    return flow_input

@parcel.step
async def label(pack: int) -> Spawn:
    return Spawn([print_label.call(pack)])

app = Stepwell(flows=[parcel], jobs=[print_label])
"""


class Spans:
    """What this process has exported."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Generator[Spans]:
    """A tracer provider for one test: the API lets a program set it once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield Spans(exporter)
    provider.shutdown()


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    """Of the trace, and of the span."""
    assert span.context is not None
    return f"0x{span.context.trace_id:032x}", f"0x{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"0x{span.parent.span_id:016x}"


async def lines_of(path: Path, names: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """The spans that another process wrote, by name, once all of these are there."""
    async with asyncio.timeout(60):
        while True:
            found: dict[str, list[dict[str, Any]]] = {}
            for line in path.read_text().splitlines() if path.exists() else ():
                span = json.loads(line)
                found.setdefault(span["name"], []).append(span)
            if found.keys() >= set(names):
                return found
            await asyncio.sleep(0.05)


async def test_a_trace_spans_client_worker_steps_and_the_child_of_a_step(
    dsn: str, spans: Spans, tmp_path: Path
) -> None:
    where = tmp_path / "spans.jsonl"
    program = Program(
        *("worker", write_program(tmp_path, PROGRAM), "--dsn", dsn, "--logs", "json"),
        environment={**environment(tmp_path), "SPANS": str(where)},
        cwd=tmp_path,
    )
    try:
        await asyncio.to_thread(program.wait_for, "WorkerStarted")
        async with Client(dsn) as client:
            with trace.get_tracer("shop").start_as_current_span("request"):
                run = await client.start("parcel", 7)
            assert await run.result(timeout=60) == {"label": [7]}
        names = ["parcel pack", "parcel label", "print_label perform", "inside"]
        theirs = await lines_of(where, names)
        logged = json.loads(await asyncio.to_thread(program.wait_for, "packed it"))
        failed = json.loads(await asyncio.to_thread(program.wait_for, "TaskFailed"))
    finally:
        program.close()
    request, start = spans.one("request"), spans.one("start parcel")
    trace_id, started = ids_of(start)
    assert parent_of(start) == ids_of(request)[1]
    assert start.kind is trace.SpanKind.PRODUCER
    assert start.attributes and start.attributes["stepwell.run_id"] == str(run.id)
    assert {span["context"]["trace_id"] for name in names for span in theirs[name]} == {trace_id}
    first, second = theirs["parcel pack"]
    assert first["parent_id"] == second["parent_id"] == started
    assert (first["status"]["status_code"], second["status"]["status_code"]) == ("ERROR", "UNSET")
    assert first["attributes"]["stepwell.will_retry"] is True
    [exception] = first["events"]
    assert exception["attributes"]["exception.type"] == "ValueError"
    assert "the box is torn" in exception["attributes"]["exception.stacktrace"]
    assert (
        second["attributes"]
        | {
            "stepwell.run_id": str(run.id),
            "stepwell.flow": "parcel",
            "stepwell.step": "pack",
            "stepwell.attempt": 2,
            "stepwell.outcome": "completed",
        }
        == second["attributes"]
    )
    spawned = theirs["parcel label"][0]
    assert spawned["attributes"]["stepwell.outcome"] == "spawn"
    [child] = theirs["print_label perform"]
    assert child["parent_id"] == spawned["context"]["span_id"]
    [inside] = theirs["inside"]
    assert inside["parent_id"] == child["context"]["span_id"]
    assert inside["attributes"]["pid"] != program.process.pid
    assert logged["trace_id"] == failed["trace_id"] == trace_id[2:]
    assert failed["level"] == "warning"
    assert (logged["span_id"], failed["span_id"]) == (
        second["context"]["span_id"][2:],
        first["context"]["span_id"][2:],
    )


ping = Flow("ping")


@ping.step
async def pong(flow_input: int) -> int:
    return flow_input


@job
async def nested(n: int) -> dict[str, str]:
    return current_ids()


class Parent(Machine):
    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Spawn:
        return Spawn([nested.call(1)], then=self.end)

    @step
    async def end(self, ctx: MachineContext) -> Done:
        return Done(None)


async def test_batches_machines_and_runs_that_nobody_traced(
    workshop: Workshop, spans: Spans
) -> None:
    seen: list[Event] = []
    with subscribed(seen.append):
        async with workshop.worker(app=Stepwell(flows=[ping], machines=[Parent], jobs=[nested])):
            client = workshop.client
            several = await client.start_many(ping, [1, 2, 3], keys=["a", "b", "c"], priority=3)
            calls = await client.enqueue_many([nested.call(1), nested.call(2)])
            for run in (*several, *calls):
                await run.result(timeout=60)
            machine = await client.start(Parent())
            await machine.result(timeout=60)
            sql = "select run_id::text from pgflow.start_flow('ping', '1'::jsonb)"
            [(untraced,)] = workshop.rows(sql)
            workshop.rows("select pgflow.wake_flows(array['ping'])")
            await client.run(untraced).result(timeout=60)
            async with asyncio.timeout(60):  # an end is told of when its commit is answered
                while len(ends_in(seen)) < 8:
                    await asyncio.sleep(0.02)
    batch, enqueued = spans.one("start ping"), spans.one("start nested")
    assert batch.attributes and batch.attributes["messaging.batch.message_count"] == 3
    trace_ids = {ids_of(span)[0] for span in spans.named("ping pong")}
    by_run = {
        str((span.attributes or {})["stepwell.run_id"]): span for span in spans.named("ping pong")
    }
    own = by_run.pop(untraced)
    assert {ids_of(span)[0] for span in by_run.values()} == {ids_of(batch)[0]}
    assert len(trace_ids) == 2 and own.parent is not None and own.parent.is_remote
    children = spans.named("nested perform")
    spawner, start = spans.one("parent begin"), spans.one("start parent")
    assert {parent_of(span) for span in children} == {ids_of(enqueued)[1], ids_of(spawner)[1]}
    assert {ids_of(span)[0] for span in spans.named("parent end")} == {ids_of(start)[0]}
    waits = [event.waited for event in seen if isinstance(event, TaskStarted)]
    assert all(waited is not None and waited >= 0 for waited in waits)
    ends = ends_in(seen)
    assert {(event.flow, event.kind, event.status) for event in ends} == {
        ("ping", "flow", "completed"),
        ("nested", "job", "completed"),
        ("parent", "machine", "completed"),
    }
    assert len({event.run_id for event in ends}) == len(ends) == 8


def ends_in(events: list[Event]) -> list[RunEnded]:
    return [event for event in events if isinstance(event, RunEnded)]


@queue_worker("letters", retry=RetryPolicy("fixed", limit=1, base_delay=1))
async def read_letter(message: int, ctx: MessageContext) -> None:
    if ctx.read_ct == 1:
        raise ValueError("cannot read it")


async def test_a_message_takes_the_trace_of_its_sender_along(
    workshop: Workshop, spans: Spans
) -> None:
    async with workshop.worker(app=Stepwell(queues=[read_letter])) as serving:
        await workshop.client.create_queue("letters")
        with trace.get_tracer("shop").start_as_current_span("request") as request:
            await workshop.client.send("letters", 1, headers={"kind": "a"})
        await workshop.client.send_batch("letters", [2, 3])
        await serving.events.until(lambda: len(serving.events.of(MessageArchived)) == 3, 60)
    first, batch = spans.named("send letters")
    tries = spans.named("handle letters")
    assert parent_of(first) == f"0x{request.get_span_context().span_id:016x}"
    assert sorted(str(parent_of(span)) for span in tries) == sorted(
        [ids_of(first)[1]] * 2 + [ids_of(batch)[1]] * 4
    )
    outcomes = [(span.attributes or {})["stepwell.outcome"] for span in tries]
    assert sorted(map(str, outcomes)) == ["archived"] * 3 + ["failed"] * 3
    headers = workshop.rows("select headers from pgmq.a_letters order by msg_id")
    assert headers[0][0].keys() == {"kind", "traceparent"}


async def test_without_spans_nothing_is_kept_and_turns_are_as_ever(workshop: Workshop) -> None:
    seen: list[Event] = []
    with subscribed(seen.append):
        async with workshop.worker(ping):
            run = await workshop.client.start(ping, 1)
            assert await run.result(timeout=60) == {"pong": 1}
    assert workshop.rows("select 1 from pgflow.runs where trace is not null") == []
    assert {event.waited for event in seen if isinstance(event, TaskStarted)} == {None}
    assert not [event for event in seen if isinstance(event, RunEnded)]


async def test_off_means_off_and_the_kit_traces_too(dsn: str, spans: Spans) -> None:
    async with Client(settings=Settings(dsn=dsn, traces="off")) as client:
        await client.start(ping, 1)
    await asyncio.to_thread(started_by_a_sync_client, dsn)
    async with Kit(Stepwell(flows=[ping]), dsn=dsn) as kit:
        await kit.client.start(ping, 2)
        await kit.drain()
    starts, pongs = spans.named("start ping"), spans.named("ping pong")
    assert (len(starts), len(pongs)) == (2, 3)
    assert {ids_of(start)[1] for start in starts} < {parent_of(span) for span in pongs}


def started_by_a_sync_client(dsn: str) -> None:
    with Client.sync(dsn) as client:
        client.start(ping, 3)


class Broken(TextMapPropagator):
    """A propagator of theirs that cannot do its work."""

    def inject(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    def extract(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no")

    @property
    def fields(self) -> set[str]:
        return set()


async def test_a_propagator_that_fails_harms_no_run(
    dsn: str, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propagate, "propagator", Broken())
    async with Kit(Stepwell(flows=[ping]), dsn=dsn) as kit:
        run = await kit.client.start(ping, 2)
        await kit.drain()
        assert await run.result() == {"pong": 2}
    spans.one("ping pong")


def test_a_run_of_its_own_trace_is_sampled_as_any_trace_that_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ParentBased(ALWAYS_OFF)))
    with Traces().attempt(UUID(int=7), "ping pong", {}, None):
        assert not trace.get_current_span().is_recording()
        unsampled = current_ids()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider())
    with Traces().attempt(UUID(int=7), "ping pong", {}, None):
        assert trace.get_current_span().is_recording()
        assert current_ids()["trace_id"] == unsampled["trace_id"]  # made of the run's id


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", '{"traceparent": "?"}', '{"a": 1}'])
def test_what_is_no_trace_is_none(spans: Spans, text: str) -> None:
    with Traces().attempt(UUID(int=7), "ping pong", {}, text) as attempt:
        attempt.ended("completed")
    assert spans.one("ping pong").attributes


def test_another_process_goes_on_where_this_one_is(spans: Spans) -> None:
    assert carried() is None
    with trace.get_tracer("shop").start_as_current_span("here"):
        there, here = carried(), current_ids()
    with resumed(there):
        assert current_ids() == here
    with resumed(None):
        assert current_ids() == {}


def test_json_lines_say_where_they_are(spans: Spans) -> None:
    record = logging.LogRecord("shop", logging.WARNING, "", 0, "hello", None, None)
    assert "trace_id" not in json.loads(JsonLines().format(record))
    with trace.get_tracer("shop").start_as_current_span("here"):
        assert json.loads(JsonLines().format(record)) | current_ids() == json.loads(
            JsonLines().format(record)
        )
