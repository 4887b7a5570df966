"""Messages, and steps of flows from data, that are handled in child processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stepwell import (
    Attempt,
    Context,
    Proceed,
    Stepwell,
    handler,
    queue_worker,
)
from stepwell.client.upserting import StepData
from stepwell.observe.events import (
    FlowNotServed,
    MessageLost,
    MessageReleased,
    QueueFailed,
    QueueOpened,
)
from stepwell.testing import Kit
from tests.engine.cpu_programs import (
    Order,
    a_worker_that_nobody_can_import,
    by_pattern,
    handles,
    holds_for,
    patterns,
    queues,
)

from .queue_hands import PATIENCE, archived, failed, send
from .test_worker_processes import lives, read, until
from .workshop import Workshop


async def test_messages_are_handled_in_child_processes(workshop: Workshop, tmp_path: Path) -> None:
    """One worker for many questions: a child is slow to start."""
    path = tmp_path / "said"
    seen: list[tuple[str, Any]] = []

    async def look(attempt: Attempt, proceed: Proceed) -> Any:
        value = await proceed()
        seen.append((attempt.name, value))

    app = Stepwell(queues=queues.queues, middleware=[look])
    async with workshop.worker(app=app, body_processes=1, poll=0.2) as serving:
        await serving.events.until(lambda: len(serving.events.of(QueueOpened)) == 3, PATIENCE)
        await workshop.client.send("cpu", Order("plain", str(path)), headers={"from": "test"})
        await archived(serving)
        [line] = path.read_text().splitlines()
        what, pid, said = line.split(" ", 2)
        assert (what, said) == ("plain", "cpu 1 1 False {'from': 'test'} False")
        assert int(pid) != os.getpid()
        assert seen == [("cpu", None)]

        spun = tmp_path / "spun"
        orders = [Order(what, str(path)) for what in ("fails", "never", "dies", "snoozes")]
        await send(workshop, *orders, {"no": "order"}, queue="cpu")
        await send(workshop, str(spun), queue="spins")
        events = await failed(serving, 7)
        await archived(serving, 2)
        assert serving.events.of(MessageLost) == []
        await until(lambda: not lives(int(read(spun) or -1)))
    tries = {(e.error_type, e.read_ct, e.retry_in) for e in events}
    assert tries == {
        ("ZeroDivisionError", 1, 1),
        ("ZeroDivisionError", 2, None),
        ("KeyError", 1, None),
        ("ProcessDied", 1, 1),
        ("BadOutcome", 1, None),
        ("PayloadError", 1, None),
        ("TimedOut", 1, None),
    }
    sql = "select error_message, traceback from pgflow.dead_letters where error_type = %s"
    [(message, traceback)] = workshop.rows(sql, "ZeroDivisionError")
    assert message == "read 2"
    assert "cpu_programs" in traceback


async def test_a_worker_that_stops_gives_back_what_a_child_had(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "said"
    app = Stepwell(queues=[holds_for])
    async with workshop.worker(app=app, body_processes=1, grace=0.1) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, str(path), queue="holds")
        await until(lambda: read(path))
        serving.stop()
        await serving.stopped()
        assert len(serving.events.of(MessageReleased)) == 1
    await until(lambda: not lives(int(read(path))))
    [(read_ct,)] = workshop.rows("select read_ct from pgmq.q_holds")
    assert read_ct == 1


async def test_a_worker_of_messages_that_no_child_finds_reads_nothing(workshop: Workshop) -> None:
    @queue_worker("tasks")
    def handle(number: int) -> None: ...

    app = Stepwell(queues=[a_worker_that_nobody_can_import(), handle])
    async with workshop.worker(app=app) as serving:
        refused = await serving.events.first(QueueFailed)
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        await archived(serving)
        assert [each.queue for each in serving.events.of(QueueOpened)] == ["tasks"]
    assert refused.queue == "hidden"
    assert "'hidden' has process=True" in refused.error
    assert "make it a global" in refused.error


async def test_steps_of_flows_from_data_run_in_child_processes(workshop: Workshop) -> None:
    steps: list[StepData] = [{"slug": "light"}, {"slug": "heavy", "deps": ["light"]}]
    maps: list[StepData] = [{"slug": "each", "step_type": "map"}]
    client = workshop.client
    async with workshop.worker(app=patterns, body_processes=1):
        await client.upsert_flow("cpu_1", steps=steps)
        await client.upsert_flow("cpu_2", steps=maps)
        first = await client.start_flow("cpu_1", {"n": 1})
        second = await client.start_flow("cpu_2", [7, 8])
        flow, step, given, pid = (await first.result(PATIENCE))["heavy"]
        light = ["cpu_1", "light", {"n": 1}, os.getpid()]
        assert (flow, step, given) == ("cpu_1", "heavy", {"light": light})
        assert pid != os.getpid()
        each = (await second.result(PATIENCE))["each"]
        assert [line[:3] for line in each] == [["cpu_2", "each", 7], ["cpu_2", "each", 8]]
        assert os.getpid() not in [line[3] for line in each]


async def test_a_handler_that_no_child_finds_serves_nothing(workshop: Workshop) -> None:
    hidden = handler("cpu_*", by_pattern, process=True)
    async with workshop.worker(app=Stepwell(handlers=[hidden])) as serving:
        await workshop.client.upsert_flow("cpu_1", steps=[{"slug": "only"}])
        refused = await serving.events.first(FlowNotServed)
    assert refused.flow == "cpu_1"
    assert "'cpu_*' has process=True" in refused.reason


async def test_a_transactional_step_of_a_flow_from_data(workshop: Workshop) -> None:
    workshop.rows("create table wrote (what text primary key)")

    async def book(input: Any, ctx: Context) -> str:
        await ctx.connection.execute("insert into wrote values (%s)", (ctx.step,))
        if ctx.attempt == 1:
            raise ValueError  # or the primary key would fail the second attempt
        return ctx.step

    def plain(input: Any, ctx: Context) -> str:
        with pytest.raises(Exception, match="is not transactional"):
            _ = ctx.sync_connection
        return ctx.step

    code = {"book": book, "tell": plain}
    app = Stepwell(handlers=[handler("acct_*", code, transactional=["book"])])
    steps: list[StepData] = [{"slug": "book"}, {"slug": "tell", "deps": ["book"]}]
    async with workshop.worker(app=app):
        await workshop.client.upsert_flow("acct_1", steps=steps, base_delay=0)
        run = await workshop.client.start_flow("acct_1", {})
        assert await run.result(PATIENCE) == {"tell": "tell"}
        assert len(await run.attempts()) == 1
    assert workshop.rows("select what from wrote") == [("book",)]


async def test_in_the_testing_kit_all_of_them_run_in_the_tests_process(
    workshop: Workshop, tmp_path: Path
) -> None:
    app = Stepwell(queues=[handles], handlers=patterns.handlers)
    async with Kit(app, workshop.dsn) as kit:
        path = tmp_path / "said"
        await kit.client.send("cpu", Order("plain", str(path)))
        await kit.client.upsert_flow("cpu_1", steps=[{"slug": "heavy"}])
        run = await kit.client.start_flow("cpu_1", 1)
        assert (await kit.drain()).completed == 2
        assert path.read_text().split()[1] == str(os.getpid())
        assert await run.result(0) == {"heavy": ["cpu_1", "heavy", 1, os.getpid()]}
