"""Queue workers: what returns is archived, what raises is tried again, what runs out of tries is a
dead letter, and a message is in one hand at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import (
    MessageContext,
    PermanentError,
    RetryPolicy,
    Snooze,
    Stepwell,
    job,
    queue_worker,
)
from stepwell.observe.events import (
    MessageLost,
    QueueOpened,
)

from .queue_hands import PATIENCE, archived, create, failed, send
from .workshop import Workshop

AT_ONCE = RetryPolicy("fixed", limit=2, base_delay=1)


@dataclass
class Mail:
    to: str
    times: int = 1


# --- what a handler gets, and what becomes of its message ---


async def test_a_message_is_handled_and_archived(workshop: Workshop) -> None:
    seen: list[tuple[Any, ...]] = []

    @queue_worker("tasks")
    async def handle(mail: Mail, ctx: MessageContext) -> str:
        seen.append((mail, ctx.queue, ctx.msg_id, ctx.read_ct, ctx.headers, ctx.last_attempt))
        assert datetime.now(UTC) - ctx.enqueued_at < timedelta(minutes=5)
        return "nobody asks for it"

    create(workshop)
    workshop.rows("""select pgmq.send('tasks', '{"to": "ada"}', '{"trace": 7}'::jsonb)""")
    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        [event] = await archived(serving)
    assert seen == [(Mail("ada"), "tasks", event.msg_id, 1, {"trace": 7}, False)]
    assert serving.events.of(QueueOpened) == [QueueOpened("tasks", False)]
    assert workshop.rows("select * from pgmq.q_tasks") == []
    assert workshop.rows("select message, read_ct from pgmq.a_tasks") == [({"to": "ada"}, 1)]


async def test_the_queue_is_made_when_it_is_missing(workshop: Workshop) -> None:
    @queue_worker("brand_new")
    def handle(number: int) -> None: ...

    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        opened = await serving.events.first(QueueOpened)
        await send(workshop, 1, 2, queue="brand_new")
        await archived(serving, 2)
    assert opened == QueueOpened("brand_new", True)


async def test_a_worker_serves_tasks_and_messages_side_by_side(workshop: Workshop) -> None:
    @queue_worker("tasks")
    def handle(number: int) -> None: ...

    @job
    async def double(number: int) -> int:
        return 2 * number

    async with workshop.worker(app=Stepwell(jobs=[double], queues=[handle])) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        run = await workshop.client.enqueue(double.call(4))
        assert await run.result(timeout=PATIENCE) == 8
        await archived(serving)
        [(queues,)] = workshop.rows(
            "select queue_name from pgflow.workers where stopped_at is null"
        )
    assert queues == "double,tasks"


async def test_a_failed_try_is_repeated_until_there_are_no_more(workshop: Workshop) -> None:
    last: list[bool] = []

    @queue_worker("tasks", retry=AT_ONCE)
    def handle(number: int, ctx: MessageContext) -> None:
        last.append(ctx.last_attempt)
        raise ValueError(f"not {number}")

    async with workshop.worker(app=Stepwell(queues=[handle]), poll=0.1) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 7)
        events = await failed(serving, 3)
    assert [(e.read_ct, e.retry_in) for e in events] == [(1, 1), (2, 1), (3, None)]
    assert last == [False, False, True]
    rows = workshop.rows(
        "select queue, message, read_ct, error_type, error_message, traceback, worker_id is null"
        " from pgflow.dead_letters"
    )
    [(*facts, traceback, anonymous)] = rows
    assert facts == ["tasks", 7, 3, "ValueError", "not 7"]
    assert "raise ValueError" in traceback and not anonymous
    assert workshop.rows("select message from pgmq.a_tasks") == [(7,)]
    assert workshop.rows("select message from pgmq.q_tasks") == []


async def test_a_message_that_a_retry_saves_is_no_dead_letter(workshop: Workshop) -> None:
    @queue_worker("tasks", retry=AT_ONCE)
    async def handle(number: int, ctx: MessageContext) -> None:
        if ctx.read_ct == 1:
            raise ConnectionError("away")

    async with workshop.worker(app=Stepwell(queues=[handle]), poll=0.1) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 7)
        [event] = await archived(serving)
    assert event.read_ct == 2
    assert workshop.rows("select * from pgflow.dead_letters") == []


@pytest.mark.parametrize(
    ("message", "error_type", "says"),
    [
        ({"to": 5}, "PayloadError", "a message of queue 'tasks'"),
        ({"to": "permanent"}, "PermanentError", "hopeless"),
        ({"to": "snooze"}, "BadOutcome", "which means nothing for a message"),
    ],
)
async def test_what_no_retry_helps_is_a_dead_letter_at_once(
    workshop: Workshop, message: Any, error_type: str, says: str
) -> None:
    @queue_worker("tasks")
    async def handle(mail: Mail) -> Any:
        if mail.to == "permanent":
            raise PermanentError("hopeless")
        return Snooze(5)

    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, message)
        [event] = await failed(serving)
    assert (event.error_type, event.retry_in) == (error_type, None) and says in event.message
    assert workshop.rows("select error_type from pgflow.dead_letters") == [(error_type,)]


async def test_a_handler_that_takes_too_long_has_failed(workshop: Workshop) -> None:
    @queue_worker("tasks", retry=RetryPolicy("fixed", limit=0), timeout=0.1)
    async def handle(number: int) -> None:
        await asyncio.sleep(600)

    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        [event] = await failed(serving)
    assert event.error_type == "TimedOut"
    assert event.message == "the worker of queue 'tasks' ran longer than its timeout of 0.1 s"


# --- in one hand ---


async def test_a_message_stays_hidden_while_its_handler_runs(workshop: Workshop) -> None:
    tries: list[int] = []
    done = asyncio.Event()

    @queue_worker("tasks", visibility_timeout=5)
    async def handle(number: int, ctx: MessageContext) -> None:
        tries.append(ctx.read_ct)
        await done.wait()

    async with workshop.worker(app=Stepwell(queues=[handle]), poll=0.05) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        sql = "select 1 from pgmq.q_tasks where vt > enqueued_at + interval '8 s'"
        await workshop.until(sql, patience=PATIENCE)
        done.set()
        await archived(serving)
    assert tries == [1]


async def test_a_handler_that_blocks_the_loop_keeps_its_message(workshop: Workshop) -> None:
    """What extends it is a thread of its own."""
    tries: list[int] = []

    @queue_worker("tasks", visibility_timeout=5)
    async def handle(number: int, ctx: MessageContext) -> None:
        tries.append(ctx.read_ct)
        sql = "select 1 from pgmq.q_tasks where vt > enqueued_at + interval '6 s'"
        while not workshop.rows(sql):
            time.sleep(0.05)  # noqa: ASYNC251 — it blocks the loop on purpose

    async with workshop.worker(app=Stepwell(queues=[handle]), poll=0.05) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        await archived(serving)
    assert tries == [1]


async def test_a_message_that_somebody_else_took_is_left_to_them(workshop: Workshop) -> None:
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    @queue_worker("tasks", visibility_timeout=5)
    async def handle(number: int, ctx: MessageContext) -> None:
        begun.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            assert ctx.cancelled
            cancelled.set()
            raise

    async with workshop.worker(app=Stepwell(queues=[handle]), poll=0.05) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
            workshop.rows("update pgmq.q_tasks set read_ct = 2, vt = now() + interval '1 h'")
            await cancelled.wait()
        lost = await serving.events.first(MessageLost)
        assert (lost.queue, lost.read_ct) == ("tasks", 1)
        assert workshop.rows("select read_ct from pgmq.q_tasks") == [(2,)]
        assert workshop.rows("select * from pgmq.a_tasks") == []


async def test_no_more_than_so_many_at_once_and_nobody_waits_for_the_slowest(
    workshop: Workshop,
) -> None:
    running: set[int] = set()
    most = 0
    slow = asyncio.Event()

    @queue_worker("tasks", max_concurrent=3)
    async def handle(number: int) -> None:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await (slow.wait() if number == 0 else asyncio.sleep(0.01))
        running.remove(number)

    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, *range(40))
        await archived(serving, 39)
        assert running == {0}
        slow.set()
        await archived(serving, 40)
    assert most == 3


async def test_sync_handlers_run_in_threads(workshop: Workshop) -> None:
    gate = threading.Barrier(3)

    @queue_worker("tasks", max_concurrent=3)
    def handle(number: int) -> None:
        gate.wait(PATIENCE)

    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1, 2, 3)
        await archived(serving, 3)


async def test_two_workers_share_a_queue(workshop: Workshop) -> None:
    tries: Counter[int] = Counter()

    @queue_worker("tasks", max_concurrent=5)
    async def handle(number: int) -> None:
        tries[number] += 1
        await asyncio.sleep(0.001)

    app = Stepwell(queues=[handle])
    async with workshop.worker(app=app) as one, workshop.worker(app=app) as two:
        await one.events.first(QueueOpened)
        await two.events.first(QueueOpened)
        await send(workshop, *range(300))
        sql = "select 1 from pgmq.a_tasks having count(*) = 300"
        await workshop.until(sql, patience=PATIENCE)
    assert tries == Counter(range(300))
