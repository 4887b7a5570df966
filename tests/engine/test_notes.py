"""Progress and log lines, from the handlers of a worker to whoever reads them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Generator
from typing import Any

import psycopg
import pytest

from stepwell import (
    Client,
    Context,
    Done,
    Flow,
    Machine,
    MachineContext,
    NotFound,
    PayloadError,
    RunLogHandler,
    Stepwell,
    job,
    step,
)
from stepwell.client.logs import LogLine
from stepwell.testing import Kit

from .workshop import Workshop

pytestmark = pytest.mark.timeout(120)
shop = logging.getLogger("tests.shop")


class Order(Machine):
    @step(initial=True, max_attempts=1)
    def pack(self, ctx: MachineContext) -> Done:
        ctx.log("packing")
        shop.warning("none is left")
        raise ValueError("no box")

    def on_error(self, error: Exception, ctx: MachineContext) -> Done:
        ctx.log(f"never mind: {error}", level="warning")
        ctx.progress(1.0, "given up")
        return Done()


@job
async def mail(ctx: Context, to: str) -> None:
    ctx.log(f"to {to}")


def pages() -> Flow[list[int], Any]:
    flow = Flow[list[int], Any]("pages", base_delay=0)

    @flow.step
    async def fetch(flow_input: list[int], ctx: Context) -> list[int]:
        ctx.log("fetching", level="debug")
        shop.info("%d pages", len(flow_input))
        return flow_input

    @flow.map(over=fetch, max_attempts=2)
    def read(page: int, ctx: Context) -> int:
        ctx.progress(0.5, f"page {page}")
        other = threading.Thread(target=ctx.log, args=(f"page {page}, attempt {ctx.attempt}",))
        other.start()
        other.join()
        if page == 2 and ctx.attempt == 1:
            ctx.log("torn", level="error")
            raise OSError("torn")
        return page

    return flow


@pytest.fixture
def captured() -> Generator[None]:
    handler = RunLogHandler()
    shop.addHandler(handler)
    shop.setLevel(logging.INFO)
    yield
    shop.removeHandler(handler)


def said(lines: list[LogLine]) -> list[str]:
    return [line.message for line in lines]


@pytest.mark.usefixtures("captured")
async def test_all_lines_are_there_when_a_run_has_ended(workshop: Workshop) -> None:
    flow = pages()
    app = Stepwell(flows=[flow], machines=[Order], jobs=[mail])
    client = workshop.client
    async with workshop.worker(app=app):
        run = await client.start(flow, [1, 2])
        order = await client.start(Order())
        letter = await client.enqueue(mail.call(to="ada"))
        await run.result(60)
        lines = await run.logs()
        assert (said(lines)[0], said(lines)[1]) == ("fetching", "2 pages")
        assert sorted(said(lines)[2:]) == [
            "page 1, attempt 1",
            "page 2, attempt 1",
            "page 2, attempt 2",
            "torn",
        ]
        assert said(await run.logs("read", task_index=1, attempt=1)) == [
            "page 2, attempt 1",
            "torn",
        ]
        assert said(await run.logs(level="error")) == ["torn"]
        assert said(await run.logs(limit=1, newest=True)) == ["page 2, attempt 2"]
        assert [
            (far.task_index, far.share, far.message, far.running)
            for far in sorted(await run.progress(), key=lambda far: far.task_index)
        ] == [(0, 0.5, "page 1", False), (1, 0.5, "page 2", False)]
        assert said([line async for line in run.follow_logs("fetch")]) == ["fetching", "2 pages"]
        await order.wait(60)
        assert said(await order.logs()) == ["packing", "none is left", "never mind: no box"]
        assert [far.message for far in await order.progress()] == ["given up"]
        await letter.wait(60)
        assert said(await letter.logs()) == ["to ada"]
        with pytest.raises(PayloadError, match="no line has level 'loud'"):
            await run.logs(level="loud")  # pyright: ignore[reportArgumentType]


async def test_a_long_body_is_followed_and_its_worker_s_broken_connections_lose_nothing(
    workshop: Workshop,
) -> None:
    flow = Flow[None, Any]("long")
    more, said_so = asyncio.Semaphore(0), asyncio.Event()

    @flow.step
    async def grind(ctx: Context) -> str:
        for n in range(4):
            await more.acquire()
            ctx.progress(n / 4, f"round {n}")
            ctx.log(f"line {n}")
            said_so.set()
        return "done"

    async with workshop.worker(flow):
        run = await workshop.client.start(flow)
        lines = run.follow_logs()
        for n in range(3):
            more.release()
            line = await anext(lines)
            assert (line.n, line.message) == (n + 1, f"line {n}")
            [far] = await run.progress()
            assert (far.share, far.message, far.running) == (n / 4, f"round {n}", True)
            workshop.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        more.release()
        assert [line.message async for line in lines] == ["line 3"]
        assert await run.result(60) == {"grind": "done"}
        assert said(await run.logs()) == [f"line {n}" for n in range(4)]


async def test_who_was_cut_off_has_its_last_words(workshop: Workshop) -> None:
    flow = Flow[None, Any]("cut")
    begun = asyncio.Event()

    @flow.step
    async def wait(ctx: Context) -> None:
        ctx.log(f"run by {ctx.worker_id}")
        if not begun.is_set():
            begun.set()
            await asyncio.sleep(3600)

    run = await workshop.client.start(flow)
    async with workshop.worker(flow) as serving:
        await begun.wait()
        serving.stop(now=True)
        await serving.stopped()
    assert len(await run.logs()) == 1
    async with workshop.worker(flow):
        await run.result(60)
    first, second = await run.logs()
    assert (first.attempt, second.attempt) == (1, 1)  # the first does not count
    assert first.message != second.message


async def test_what_nobody_says_costs_no_connection_and_no_call(workshop: Workshop) -> None:
    quiet, loud = Flow[None, Any]("quiet"), Flow[None, Any]("loud")

    @quiet.step
    async def hush(ctx: Context) -> None: ...

    @loud.step
    async def shout(ctx: Context) -> None:
        ctx.log("!")

    def connections() -> int:
        [(count,)] = workshop.rows(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and application_name = 'stepwell worker' and query ilike '%write_notes%'"
        )
        return count

    async with workshop.worker(quiet, loud):
        await (await workshop.client.start(quiet)).result(60)
        assert connections() == 0
        await (await workshop.client.start(loud)).result(60)
        assert connections() == 1


async def test_a_level_that_there_is_not_fails_the_attempt(workshop: Workshop) -> None:
    flow = Flow[None, Any]("wrong")

    @flow.step(max_attempts=1)
    async def say(ctx: Context) -> None:
        ctx.log("hm", level="loud")  # pyright: ignore[reportArgumentType]

    async with workshop.worker(flow):
        run = await workshop.client.start(flow)
        assert "there is no level 'loud'; it is one of debug" in str(
            (await run.wait(60)).error_message
        )


def test_without_a_loop(dsn: str) -> None:
    async def worked() -> Any:
        flow = pages()
        async with Kit([flow], dsn) as kit:
            run = await kit.client.start(flow, [2])
            await kit.drain()
            lines = await kit.logs(run, "read")
            assert [(line.message, line.attempt) for line in lines] == [
                ("page 2, attempt 1", 1),
                ("torn", 1),
                ("page 2, attempt 2", 2),
            ]
            assert {line.at for line in lines} == {kit.now}
            [far] = await kit.progress(run)
            assert (far.step, far.attempt, far.share) == ("read", 2, 0.5)
            return run.id

    run_id = asyncio.run(worked())
    with Client.sync(dsn) as client:
        run = client.run(run_id)
        assert said(run.logs("read", level="error")) == ["torn"]
        assert said(list(run.follow_logs(newest=1))) == ["page 2, attempt 2"]
        assert [far.message for far in run.progress()] == ["page 2"]
        run.delete()
        with pytest.raises(NotFound):
            list(run.follow_logs())
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select from pgflow.logs").fetchall() == []
