"""What a worker brings up: with a database that is down, comes up and goes away again; and beside
definitions that cannot come up."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from stepwell import (
    DefinitionError,
    Done,
    Flow,
    Machine,
    MachineContext,
    Schedule,
    Settings,
    Stepwell,
    every,
    job,
    step,
)
from stepwell.compile import deploy
from stepwell.errors import Conflict, InvalidArgument, SchemaError
from stepwell.observe.emit import subscribed
from stepwell.observe.events import (
    DatabaseBack,
    DatabaseLost,
    StarterAttempt,
    StarterFailed,
    StarterReady,
    StarterRetryScheduled,
    StarterSuccess,
    WorkerStarted,
)
from stepwell.worker.modules import Backoff
from stepwell.worker.worker import TOGETHER, Worker
from tests.chaos.proxy import proxied

from .workshop import Events, Serving, Workshop

PATIENCE = 30.0
SOON = Backoff(base=0.05, longest=0.4)
NEVER = Backoff(base=3600.0, longest=3600.0, jitter=0.0)


@job
async def echo(n: int) -> int:
    return n


class Light(Machine):
    @step(initial=True)
    async def on(self, ctx: MachineContext) -> Done:
        return Done("on")


def orders() -> Flow[int, Any]:
    flow = Flow[int, Any]("orders")

    @flow.step
    async def pack(flow_input: int) -> int:  # pyright: ignore[reportUnusedFunction]
        return flow_input

    return flow


def all_kinds() -> Stepwell:
    return Stepwell(flows=[orders()], machines=[Light], jobs=[echo])


@asynccontextmanager
async def serving(
    workshop: Workshop, app: Stepwell, *, backoff: Backoff = SOON, **settings: Any
) -> AsyncGenerator[Serving]:
    """A worker that may not have come up yet."""
    knobs: dict[str, Any] = {"dsn": workshop.dsn, "grace": 2.0, "lease": 10.0, "poll": 1.0}
    events = Events()
    with subscribed(events.take):
        served = Serving(Worker(app, Settings(**knobs | settings), backoff=backoff), events)
    try:
        yield served
    except TimeoutError:  # the reason, if it ended
        if served.task.done():
            served.task.result()
        raise
    finally:
        served.stop(now=True)
        await asyncio.wait({served.task}, timeout=PATIENCE)


async def test_every_definition_is_a_module_of_its_own(workshop: Workshop) -> None:
    async with serving(workshop, all_kinds()) as served:
        starter = served.worker.starter
        await starter.await_ready(timedelta(seconds=PATIENCE))
        for wrong in ("x", -1, True):
            with pytest.raises(InvalidArgument, match="timeout is") as refused:
                await starter.await_ready(wrong)  # pyright: ignore[reportArgumentType]
            assert refused.value.reason == "invalid_timeout"
        status = starter.status()
        assert [(m.module, m.type, m.status) for m in status.modules] == [
            ("orders", "flow", "succeeded"),
            ("light", "machine", "succeeded"),
            ("echo", "job", "succeeded"),
        ]
        assert status.ready and status.healthy
        run = await workshop.client.enqueue(echo.call(n=3))
        assert await run.result(PATIENCE) == 3
        ready = await served.events.first(StarterReady)
        assert ready.modules == 3
        assert len(served.events.of(StarterSuccess)) == 3
        assert served.events.of(StarterRetryScheduled) == []


async def test_a_database_that_is_down_at_start_comes_up_and_goes_away_again(
    workshop: Workshop,
) -> None:
    """Down: attempts, pauses, no end. Up: everything, at once. Away: what is up stays up. Back: it
    goes on, and a module that is attempted meanwhile comes back by itself."""
    async with proxied(workshop.dsn) as proxy:
        proxy.refusing = True
        async with serving(workshop, all_kinds(), dsn=proxy.dsn, lease=60.0) as served:
            starter, events = served.worker.starter, served.events
            await events.until(lambda: len(events.of(StarterRetryScheduled)) >= 9, PATIENCE)
            assert {s.status for s in starter.status().modules} == {"retrying"}
            assert (starter.ready(), starter.healthy()) == (False, False)
            errors = [s.last_error for s in starter.status().modules if s.last_error]
            assert {(e.phase, e.error_class) for e in errors} == {("worker", "transient")}
            assert events.of(DatabaseLost) and not events.of(WorkerStarted)

            proxy.refusing = False
            await starter.await_ready(PATIENCE)
            await events.first(WorkerStarted)
            assert await (await workshop.client.start(orders(), 1)).result(PATIENCE) == {"pack": 1}

            attempts = len(events.of(StarterAttempt))
            proxy.refusing = True
            proxy.cut_all()
            await events.first(DatabaseLost, 2)
            starter.retry_now("echo")
            await events.until(lambda: len(events.of(StarterAttempt)) >= attempts + 2, PATIENCE)
            echoing = starter.module_status("echo")
            assert echoing and echoing.status == "retrying"
            assert starter.healthy() and not starter.ready()  # the others are up as they were

            proxy.refusing = False
            await starter.await_ready(PATIENCE)
            await events.first(DatabaseBack, 2)
            run = await workshop.client.enqueue(echo.call(n=5))
            assert await run.result(PATIENCE) == 5
            assert len(events.of(StarterReady)) == 1
            assert not served.task.done()


async def test_a_worker_that_says_that_it_serves_has_something_to_serve(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A definition comes up during the first look at what there is, which is without it; the second
    look takes its time."""
    served_lanes, looks = deploy.served_lanes, itertools.count(1)

    async def slowly(*arguments: Any, **more: Any) -> Any:
        if (look := next(looks)) == 1:
            async with asyncio.timeout(PATIENCE):
                while not deployed():
                    await asyncio.sleep(0.01)
        elif look == 2:
            await asyncio.sleep(3 * TOGETHER)
        return await served_lanes(*arguments, **more)

    def deployed() -> bool:
        return bool(served.worker._starting.started)  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(deploy, "served_lanes", slowly)
    async with serving(workshop, Stepwell(jobs=[echo])) as served:
        started = await served.events.first(WorkerStarted)
        assert started.flows == ("echo",)


async def test_a_database_that_comes_back_ends_every_pause(workshop: Workshop) -> None:
    async with proxied(workshop.dsn) as proxy:
        proxy.refusing = True
        async with serving(workshop, all_kinds(), dsn=proxy.dsn, backoff=NEVER) as served:
            events = served.events
            await events.until(lambda: len(events.of(StarterRetryScheduled)) == 3, PATIENCE)
            proxy.refusing = False
            starter = served.worker.starter
            await starter.await_ready(PATIENCE)
            for _ in range(2):  # later ones too
                proxy.refusing = True
                proxy.cut_all()
                starter.retry_now("echo")
                await events.until(lambda: not starter.ready(), PATIENCE)
                proxy.refusing = False
                await starter.await_ready(PATIENCE)


async def test_one_that_cannot_come_up_delays_no_other(workshop: Workshop) -> None:
    """A flow without steps, a name that is taken by another kind, and one whose deploy hangs."""
    workshop.rows("select pgflow.create_flow('light'), pgflow.add_step('light', 'a')")
    app = Stepwell(flows=[Flow("empty"), orders()], machines=[Light], jobs=[echo])
    with psycopg.connect(workshop.dsn) as other:
        other.execute("select pg_advisory_xact_lock(1, hashtext('orders'))")
        async with serving(workshop, app) as served:
            starter, events = served.worker.starter, served.events
            run = await workshop.client.enqueue(echo.call(n=1))
            assert await run.result(PATIENCE) == 1
            await events.first(StarterFailed, 2)
            empty, light = starter.module_status("empty"), starter.module_status(Light)
            assert empty and empty.last_error and light and light.last_error
            assert (empty.status, empty.last_error.phase) == ("failed_permanent", "registry")
            assert (light.status, light.last_error.phase) == ("failed_permanent", "worker")
            assert "'light' is a flow in this database" in light.last_error.reason
            hanging = starter.module_status("orders")
            assert hanging and hanging.status == "pending"
            assert starter.healthy() and not starter.ready()

            other.rollback()
            await starter.await_ready(PATIENCE)
            run = await workshop.client.start(orders(), 2)
            assert await run.result(PATIENCE) == {"pack": 2}


async def test_when_nothing_can_come_up_the_worker_ends_with_the_reason(workshop: Workshop) -> None:
    async with serving(workshop, Stepwell(flows=[Flow("empty"), Flow("hollow")])) as served:
        with pytest.raises(DefinitionError, match="empty"):
            await asyncio.wait_for(served.task, PATIENCE)
    workshop.rows("select pgflow.create_flow('light'), pgflow.add_step('light', 'a')")
    async with serving(workshop, Stepwell(machines=[Light])) as served:
        with pytest.raises(Conflict, match="'light' is a flow"):
            await asyncio.wait_for(served.task, PATIENCE)


async def test_a_schema_that_does_not_fit_ends_the_worker(empty_dsn: str) -> None:
    worker = Worker(Stepwell(jobs=[echo]), Settings(dsn=empty_dsn))
    with pytest.raises(SchemaError, match="stepwell migrate"):
        await asyncio.wait_for(worker.run(), PATIENCE)


async def test_a_worker_that_may_not_listen_polls_and_says_so(workshop: Workshop) -> None:
    """Phase `notify` goes on trying; the module is served meanwhile."""
    nowhere = "host=127.0.0.1 port=1 connect_timeout=1"
    async with serving(workshop, Stepwell(jobs=[echo]), listen_dsn=nowhere, poll=0.2) as served:
        starter = served.worker.starter
        await served.events.first(StarterRetryScheduled)
        run = await workshop.client.enqueue(echo.call(n=1))
        assert await run.result(PATIENCE) == 1
        state = starter.module_status(echo)
        assert state and state.last_error
        assert (state.status, state.last_error.phase) == ("retrying", "notify")
        assert not starter.ready()


async def test_a_worker_that_only_polls_has_no_connection_that_listens(workshop: Workshop) -> None:
    listening = "select 1 from pg_stat_activity where application_name = 'stepwell listen'"
    listening += " and datname = current_database()"
    async with serving(workshop, Stepwell(jobs=[echo]), wake="poll", poll=0.2) as served:
        await served.worker.starter.await_ready(PATIENCE)
        run = await workshop.client.enqueue(echo.call(n=1))
        assert await run.result(PATIENCE) == 1
        with psycopg.connect(workshop.dsn) as conn:
            assert conn.execute(listening.encode()).fetchall() == []
    async with serving(workshop, Stepwell(jobs=[echo])) as served:
        await served.worker.starter.await_ready(PATIENCE)
        with psycopg.connect(workshop.dsn) as conn:
            assert conn.execute(listening.encode()).fetchall() == [(1,)]


async def test_the_connections_of_the_start_are_closed_when_all_is_up(workshop: Workshop) -> None:
    """Two for turns, one each for chores, versions, the heartbeat and LISTEN; the heartbeat comes
    with the first beat."""
    query = (
        "select 1 from pg_stat_activity where datname = current_database() and application_name in"
        " ('stepwell worker', 'stepwell listen', 'stepwell heartbeat') having count(*) = 6"
    )
    async with serving(workshop, all_kinds(), lease=3.0) as served:
        await served.worker.starter.await_ready(PATIENCE)
        run = await workshop.client.enqueue(echo.call(n=1))
        assert await run.result(PATIENCE) == 1
        await workshop.until(query, patience=PATIENCE)


async def test_schedules_come_up_with_what_they_start(workshop: Workshop) -> None:
    flow = orders()
    schedules = [
        Schedule("often", flow.call(1), every(1)),
        Schedule("elsewhere", Flow[Any, Any]("of_others"), every(3600)),
    ]
    app = Stepwell(flows=[flow], schedules=schedules)
    async with serving(workshop, app) as served:
        await served.worker.starter.await_ready(PATIENCE)
        found = workshop.rows("select name from pgflow.schedules order by name")
        assert found == [("elsewhere",), ("often",)]


async def test_who_looks_at_the_workers_sees_what_each_serves(workshop: Workshop) -> None:
    with psycopg.connect(workshop.dsn) as other:
        other.execute("select pg_advisory_xact_lock(1, hashtext('orders'))")
        async with serving(workshop, all_kinds()) as served:
            await served.events.first(WorkerStarted)
            other.rollback()
            await served.worker.starter.await_ready(PATIENCE)
            await workshop.until(
                "select 1 from pgflow.workers where queue_name = 'echo,light,orders'",
                patience=PATIENCE,
            )


async def test_what_is_registered_later_is_served_and_what_is_taken_back_is_not(
    workshop: Workshop,
) -> None:
    app = Stepwell(jobs=[echo])
    async with serving(workshop, app, lease=3.0) as served:
        starter = served.worker.starter
        await starter.await_ready(PATIENCE)
        flow = orders()
        app.registry.register(flow)
        run = await workshop.client.start(flow, 4)
        assert await run.result(PATIENCE) == {"pack": 4}
        await starter.await_ready(PATIENCE)
        assert [m.module for m in starter.status().modules] == ["echo", "orders"]

        app.registry.unregister(echo)
        await workshop.until(
            "select 1 from pgflow.workers where queue_name = 'orders' and stopped_at is null",
            patience=PATIENCE,
        )
        assert starter.module_status(echo) is None
        await workshop.client.enqueue(echo.call(n=1))
        run = await workshop.client.start(flow, 5)
        assert await run.result(PATIENCE) == {"pack": 5}
        assert workshop.rows("select status from pgflow.runs where flow_slug = 'echo'") == [
            ("started",)
        ]


async def test_stopping_before_anything_came_up_is_quick(workshop: Workshop) -> None:
    async with proxied(workshop.dsn) as proxy:
        proxy.refusing = True
        async with serving(workshop, all_kinds(), dsn=proxy.dsn, backoff=NEVER) as served:
            await served.events.first(StarterRetryScheduled)
            served.stop()
            await asyncio.wait_for(served.task, PATIENCE)
