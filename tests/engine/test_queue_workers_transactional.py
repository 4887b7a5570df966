"""What a transactional queue worker wrote commits together with the end of its message, or not at
all."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from stepwell import (
    Attempt,
    MessageContext,
    PermanentError,
    Proceed,
    RetryPolicy,
    Stepwell,
    queue_worker,
)
from stepwell.observe.events import (
    MessageArchived,
    MessageFailed,
    MessageLost,
    MessageReleased,
    MessageRepeated,
    QueueOpened,
)
from stepwell.testing import Kit
from tests.chaos.proxy import proxied

from .queue_hands import PATIENCE, archived, create, failed, send
from .workshop import Workshop

INSERT = "insert into wrote values (%s)"
AT_ONCE = RetryPolicy("fixed", limit=1, base_delay=1)
ONCE = RetryPolicy(limit=0)
ENDED = "select message, read_ct from pgmq.a_tasks order by msg_id"
RAN: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def table(workshop: Workshop) -> None:
    RAN.clear()
    workshop.rows("create table wrote (what text primary key)")
    create(workshop)


def wrote(workshop: Workshop) -> set[str]:
    return {what for (what,) in workshop.rows("select what from wrote")}


async def test_what_returns_commits_and_what_raises_is_rolled_back(workshop: Workshop) -> None:
    @queue_worker("tasks", transactional=True, retry=AT_ONCE)
    async def book(what: str, ctx: MessageContext) -> None:
        RAN[what] += 1
        await ctx.connection.execute(INSERT, (what,))
        if what == "never":
            raise PermanentError("no")
        if what == "later" and ctx.read_ct == 1:
            raise ValueError("not yet")  # or the primary key would fail the second try

    @queue_worker("threads", transactional=True, retry=ONCE)
    def book_in_thread(what: str, ctx: MessageContext) -> None:
        ctx.sync_connection.execute(INSERT, (what,))
        with pytest.raises(Exception, match="sync one it is"):
            _ = ctx.connection
        if what == "torn":
            raise ValueError("no")

    app = Stepwell(queues=[book, book_in_thread])
    async with workshop.worker(app=app, poll=0.2) as serving:
        await serving.events.until(lambda: len(serving.events.of(QueueOpened)) == 2, PATIENCE)
        await send(workshop, "once", "later", "never")
        await send(workshop, "thread", "torn", queue="threads")
        await archived(serving, 3)
        told = {each.message: each.retry_in for each in await failed(serving, 3)}
        assert told == {"no": None, "not yet": 1}
        assert serving.events.of(MessageLost) == []
    assert wrote(workshop) == {"once", "later", "thread"}
    assert RAN == {"once": 1, "later": 2, "never": 1}
    assert workshop.rows(ENDED) == [("once", 1), ("later", 2), ("never", 1)]
    dead = workshop.rows("select queue, message from pgflow.dead_letters order by queue")
    assert dead == [("tasks", "never"), ("threads", "torn")]
    assert workshop.rows("select 1 from pgmq.q_tasks union all select 1 from pgmq.q_threads") == []


async def test_a_message_that_somebody_else_read_meanwhile_writes_nothing(
    workshop: Workshop,
) -> None:
    read, go_on = asyncio.Event(), asyncio.Event()

    @queue_worker("tasks", transactional=True, visibility_timeout=600)
    async def book(what: str, ctx: MessageContext) -> None:
        RAN[what] += 1
        await ctx.connection.execute(INSERT, (f"{what} {ctx.read_ct}",))
        if ctx.read_ct == 1:
            read.set()
            await go_on.wait()

    async with workshop.worker(app=Stepwell(queues=[book]), poll=0.2) as serving:
        await send(workshop, "a")
        async with asyncio.timeout(PATIENCE):
            await read.wait()
        with psycopg.connect(workshop.dsn) as conn:  # its time is over, and no poll is quicker
            conn.execute("select pgmq.set_vt('tasks', 1, 0)")
            found = conn.execute("select read_ct from pgmq.read('tasks', 600, 1)").fetchall()
        assert found == [(2,)]
        go_on.set()
        await serving.events.first(MessageLost)
        assert wrote(workshop) == set()
        assert workshop.rows(ENDED) == []
        workshop.rows("select pgmq.set_vt('tasks', 1, 0)")
        await archived(serving)
    assert wrote(workshop) == {"a 3"}
    assert workshop.rows(ENDED) == [("a", 3)]


async def test_a_slow_commit_keeps_its_message_past_its_time(workshop: Workshop) -> None:
    """Between the archiving and the end of the commit the message is locked, not extended; and the
    thread that extends the others does not wait for it."""
    workshop.rows(
        "create function wait() returns trigger language plpgsql as $$ begin"
        " if new.what = 'slow' then perform pg_advisory_xact_lock(7); end if; return null; end $$"
    )
    workshop.rows(
        "create constraint trigger wait after insert on wrote deferrable initially deferred"
        " for each row execute function wait()"
    )
    go_on = asyncio.Event()

    @queue_worker("tasks", transactional=True, visibility_timeout=4)
    async def book(what: str, ctx: MessageContext) -> None:
        RAN[what] += 1
        await ctx.connection.execute(INSERT, (what,))

    @queue_worker("beside", visibility_timeout=60)
    async def wait(what: str) -> None:
        await go_on.wait()

    async with workshop.worker(app=Stepwell(queues=[book, wait]), poll=0.1) as serving:
        await serving.events.until(lambda: len(serving.events.of(QueueOpened)) == 2, PATIENCE)
        with psycopg.connect(workshop.dsn) as conn:
            conn.execute("select pg_advisory_xact_lock(7)")
            await send(workshop, "slow")
            held = "select 1 from pg_locks where locktype = 'advisory' and not granted"
            await workshop.until(held, patience=PATIENCE)
            await send(workshop, "beside", queue="beside")
            first = "select vt from pgmq.q_beside where read_ct = 1"
            [(vt,)] = await workshop.until(first, patience=PATIENCE)
            extended = "select 1 from pgmq.q_beside where vt > %s"
            await workshop.until(extended, vt, patience=PATIENCE)
            await asyncio.sleep(4)
            late = "select 1 from pgmq.q_tasks where vt < clock_timestamp()"
            await workshop.until(late, patience=PATIENCE)
            assert workshop.rows("select msg_id from pgmq.read('tasks', 1, 1)") == []
        await archived(serving)
        go_on.set()
        await archived(serving, 2)
        assert serving.events.of(MessageLost) == []
    assert RAN == {"slow": 1}
    assert workshop.rows(ENDED) == [("slow", 1)]


CUTS: dict[str, Callable[[str], bool]] = {
    "its commit": lambda text: text == "commit",
    "its end": lambda text: "pgflow.archive_transactional(" in text,
    "its begin": lambda text: text.startswith("begin"),
    "its write": lambda text: text.startswith("insert into wrote"),
}


async def test_a_connection_that_is_cut_writes_once(workshop: Workshop) -> None:
    @queue_worker("tasks", transactional=True, visibility_timeout=60, retry=ONCE)
    async def book(what: str, ctx: MessageContext) -> None:
        RAN[what] += 1
        await ctx.connection.execute(INSERT, (what,))

    app = Stepwell(queues=[book])
    async with (
        proxied(workshop.dsn) as proxy,
        workshop.worker(app=app, dsn=proxy.dsn, lease=60.0, poll=0.2) as serving,
    ):
        await serving.events.first(QueueOpened)
        for number, (name, matches) in enumerate(CUTS.items(), 1):
            left = [True]
            proxy.cut = lambda text, m=matches, left=left: m(text) and bool(left and left.pop())
            await send(workshop, name)
            await archived(serving, number)
            assert proxy.cuts == number
        assert len(serving.events.of(MessageRepeated)) == 2
        assert serving.events.of(MessageFailed) == serving.events.of(MessageLost) == []
    assert wrote(workshop) == set(CUTS)
    assert RAN == {"its commit": 1, "its end": 2, "its begin": 1, "its write": 2}
    assert workshop.rows(ENDED) == [(name, 1) for name in CUTS]


async def test_what_others_rolled_back_runs_again_within_the_same_try(workshop: Workshop) -> None:
    conflict = "do $$ begin raise exception using errcode = '40001'; end $$"

    @queue_worker("tasks", transactional=True, retry=ONCE)
    async def book(what: str, ctx: MessageContext) -> None:
        RAN[what] += 1
        await ctx.connection.execute(INSERT, (what,))
        if what == "always" or RAN[what] == 1:
            await ctx.connection.execute(conflict)

    async with workshop.worker(app=Stepwell(queues=[book]), poll=0.2) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, "a")
        await archived(serving)
        [repeated] = serving.events.of(MessageRepeated)
        assert (repeated.msg_id, repeated.error_type) == (1, "SerializationFailure")
        await send(workshop, "always")
        [gave_up] = await failed(serving)
        assert (gave_up.error_type, gave_up.retry_in) == ("SerializationFailure", None)
    assert RAN == {"a": 2, "always": 6}
    assert wrote(workshop) == {"a"}


async def test_what_cannot_commit_is_a_failed_try(workshop: Workshop) -> None:
    workshop.rows("create table later (id int unique deferrable initially deferred)")

    @queue_worker("tasks", transactional=True, retry=ONCE, timeout=30)
    async def book(what: str, ctx: MessageContext) -> None:
        await ctx.connection.execute(INSERT, (what,))
        match what:
            case "deferred":
                await ctx.connection.execute("insert into later values (1), (1)")
            case "takes":
                await ctx.connection.execute("select pgmq.archive('tasks', %s)", (ctx.msg_id,))
            case "ends":
                await ctx.connection.execute("rollback")
            case _:
                raise AssertionError

    @queue_worker("slow", transactional=True, retry=ONCE, timeout=1)
    def sleep(what: str, ctx: MessageContext) -> None:
        ctx.sync_connection.execute(INSERT, (what,))
        ctx.sync_connection.execute("select pg_sleep(600)")

    async with workshop.worker(app=Stepwell(queues=[book, sleep]), poll=0.2) as serving:
        await serving.events.until(lambda: len(serving.events.of(QueueOpened)) == 2, PATIENCE)
        await send(workshop, "deferred", "takes", "ends")
        await send(workshop, "sleeps", queue="slow")
        await failed(serving, 4)
        assert serving.events.of(MessageLost) == []
    assert wrote(workshop) == set()
    rows = workshop.rows("select message, error_type, error_message from pgflow.dead_letters")
    said = {message: (kind, text) for message, kind, text in rows}
    assert {message: kind for message, (kind, _) in said.items()} == {
        "deferred": "UniqueViolation",
        "takes": "TransactionError",
        "ends": "TransactionError",
        "sleeps": "TimedOut",
    }
    assert "archived or deleted its own message" in said["takes"][1]
    assert "has ended its transaction by itself" in said["ends"][1]


async def test_a_worker_that_stops_rolls_back_what_does_not_end(workshop: Workshop) -> None:
    begun = threading.Event()

    @queue_worker("tasks", transactional=True, visibility_timeout=600)
    async def book(what: str, ctx: MessageContext) -> None:
        await ctx.connection.execute(INSERT, (what,))
        begun.set()
        await asyncio.Event().wait()

    async with workshop.worker(app=Stepwell(queues=[book]), grace=0.1) as serving:
        await send(workshop, "a")
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        serving.stop()
        await serving.stopped()
        assert len(serving.events.of(MessageReleased)) == 1
    assert wrote(workshop) == set()
    visible = "select read_ct from pgmq.q_tasks where vt <= clock_timestamp()"
    assert await workshop.until(visible) == [(1,)]


async def test_middleware_goes_around_it_and_its_errors_roll_back(workshop: Workshop) -> None:
    @queue_worker("tasks", transactional=True, retry=ONCE)
    async def book(what: str, ctx: MessageContext) -> str:
        await ctx.connection.execute(INSERT, (what,))
        if what == "raises":
            raise ValueError
        return what

    async def refuse(attempt: Attempt, proceed: Proceed) -> Any:
        try:
            if await proceed() == "refused":
                raise RuntimeError("not that one")
        except ValueError:
            return None  # dealt with; what the handler wrote is gone

    app = Stepwell(queues=[book], middleware=[refuse])
    async with workshop.worker(app=app, poll=0.2) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, "fine", "refused", "raises")
        await archived(serving, 2)
        [event] = await failed(serving)
    assert event.error_type == "RuntimeError"
    assert wrote(workshop) == {"fine"}
    assert workshop.rows("select message from pgflow.dead_letters") == [("refused",)]


async def test_the_testing_kit_runs_them_by_its_own_clock(workshop: Workshop) -> None:
    @queue_worker("tasks", transactional=True, retry=AT_ONCE)
    def book(what: str, ctx: MessageContext) -> None:
        sql = "insert into wrote select %s || ' ' || pgflow.now()::date"
        ctx.sync_connection.execute(sql, (f"{what} {ctx.read_ct}",))
        if what == "later" and ctx.read_ct == 1:
            raise ValueError
        if what == "never":
            raise PermanentError
        if what == "taken":
            workshop.rows("update pgmq.q_tasks set read_ct = read_ct + 1, vt = vt + '1 day'")

    async with Kit(Stepwell(queues=[book]), workshop.dsn) as kit:
        day = f"{kit.now:%Y-%m-%d}"
        await kit.client.send_batch("tasks", ["now", "never", "later"])
        tally = await kit.drain()
        assert (tally.completed, tally.retry, tally.failed, tally.dropped) == (1, 1, 1, 0)
        assert wrote(workshop) == {f"now 1 {day}"}
        await kit.advance(seconds=2)
        assert len(wrote(workshop)) == 2
        await kit.client.send("tasks", "taken")
        assert (await kit.drain()).dropped == 1
    assert len(wrote(workshop)) == 2


async def test_a_plain_handler_is_told_how_to_get_a_connection(workshop: Workshop) -> None:
    said: list[str] = []

    @queue_worker("tasks")
    async def plain(what: str, ctx: MessageContext) -> None:
        for name in ("connection", "sync_connection", "log", "progress", "run_id"):
            try:
                getattr(ctx, name)
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")

    async with workshop.worker(app=Stepwell(queues=[plain])) as serving:
        await send(workshop, "a")
        await archived(serving)
    assert len(serving.events.of(MessageArchived)) == 1
    connection, sync_connection, log, progress, run_id = said
    assert "ctx.connection: the worker of queue 'tasks' is not transactional" in connection
    assert "TransactionError: ctx.sync_connection" in sync_connection
    assert "ctx.log: a message is no run" in log and "use Python's logging" in log
    assert "ctx.progress: a message is no run" in progress
    assert run_id == "AttributeError: the context of a message has no 'run_id'"
