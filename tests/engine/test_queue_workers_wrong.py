"""Queue workers that stop, and queues that are not as they should be."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from stepwell import (
    DefinitionError,
    QueueWorker,
    RetryPolicy,
    Settings,
    Stepwell,
    Worker,
    queue_worker,
)
from stepwell.db.messages import Message
from stepwell.observe.events import MessageReleased, QueueFailed, QueueOpened
from stepwell.worker.binding import Bindings
from stepwell.worker.bodies import hands_of
from stepwell.worker.desk import Desk
from stepwell.worker.queue_message import Held
from stepwell.worker.queue_reader import QueueReader
from stepwell.worker.transactions import unheard

from .queue_hands import PATIENCE, archived, create, failed, send
from .workshop import Workshop

AT_ONCE = RetryPolicy("fixed", limit=2, base_delay=1)


async def test_what_does_not_end_within_the_grace_period_goes_back(workshop: Workshop) -> None:
    begun = asyncio.Event()

    @queue_worker("tasks", visibility_timeout=600)
    async def handle(number: int) -> None:
        begun.set()
        await asyncio.sleep(600)

    async with workshop.worker(app=Stepwell(queues=[handle]), grace=0.1) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        serving.stop()
        await serving.stopped(PATIENCE)
    assert [e.read_ct for e in serving.events.of(MessageReleased)] == [1]
    assert workshop.rows("select read_ct from pgmq.q_tasks where vt <= now()") == [(1,)]


async def test_what_ends_within_the_grace_period_is_archived(workshop: Workshop) -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    @queue_worker("tasks")
    async def handle(number: int) -> None:
        begun.set()
        await done.wait()

    async with workshop.worker(app=Stepwell(queues=[handle]), grace=PATIENCE) as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        async with asyncio.timeout(PATIENCE):
            await begun.wait()
        serving.stop()
        await send(workshop, 2)
        done.set()
        await serving.stopped(PATIENCE)
    assert workshop.rows("select message from pgmq.a_tasks") == [(1,)]
    assert workshop.rows("select message from pgmq.q_tasks where vt <= now()") == [(2,)]


async def test_a_message_that_was_read_too_often_is_not_tried_again(workshop: Workshop) -> None:
    """Each of its workers was lost; the next would be too."""

    @queue_worker("tasks", retry=AT_ONCE)
    async def handle(number: int) -> None: ...

    create(workshop)
    await send(workshop, 1, 2)
    workshop.rows("update pgmq.q_tasks set read_ct = case message when '1' then 6 else 5 end")
    async with workshop.worker(app=Stepwell(queues=[handle])) as serving:
        [dead] = await failed(serving)
        [saved] = await archived(serving)
    assert (dead.error_type, dead.read_ct, dead.retry_in) == ("NeverFinished", 7, None)
    assert saved.read_ct == 6


async def test_a_queue_that_is_gone_harms_no_other(workshop: Workshop) -> None:
    @queue_worker("tasks")
    async def handle(number: int) -> None: ...

    @queue_worker("mail")
    async def other(number: int) -> None: ...

    app = Stepwell(queues=[handle, other])
    async with workshop.worker(app=app, poll=0.05) as serving:
        await serving.events.first(QueueOpened, 2)
        workshop.rows("select pgmq.drop_queue('tasks')")
        refused = await serving.events.first(QueueFailed)
        assert (refused.queue, "q_tasks" in refused.error) == ("tasks", True)
        await send(workshop, 1, queue="mail")
        await archived(serving, 1)
        create(workshop)
        await send(workshop, 2)
        await archived(serving, 2)


async def test_the_queue_of_a_flow_is_refused_and_the_rest_is_served(workshop: Workshop) -> None:
    @queue_worker("double")
    async def wrong(number: int) -> None: ...

    @queue_worker("tasks")
    async def right(number: int) -> None: ...

    workshop.rows("select pgflow.create_flow('double')")
    async with workshop.worker(app=Stepwell(queues=[wrong, right])) as serving:
        refused = await serving.events.first(QueueFailed)
        assert "'double' is that of a flow" in refused.error
        await serving.events.first(QueueOpened)
        await send(workshop, 1)
        await archived(serving)


async def test_a_worker_serves_the_queues_that_it_is_told_to(workshop: Workshop) -> None:
    @queue_worker("tasks")
    async def handle(number: int) -> None: ...

    @queue_worker("mail")
    async def other(number: int) -> None: ...

    create(workshop)
    await send(workshop, 1)
    app = Stepwell(queues=[handle, other])
    async with workshop.worker(app=app, queues="mail") as serving:
        await serving.events.first(QueueOpened)
        await send(workshop, 2, queue="mail")
        await archived(serving)
    assert serving.events.of(QueueOpened) == [QueueOpened("mail", True)]
    assert workshop.rows("select read_ct from pgmq.q_tasks") == [(0,)]


async def test_a_send_in_plain_sql_wakes_the_worker(workshop: Workshop) -> None:
    @queue_worker("tasks")
    async def handle(number: int) -> None: ...

    async with workshop.worker(app=Stepwell(queues=[handle]), poll=3600.0) as serving:
        await serving.events.first(QueueOpened)
        sql = "select 1 from pg_stat_activity where query like 'listen%%q_tasks%%'"
        await workshop.until(sql, patience=PATIENCE)
        workshop.rows("select pgmq.send('tasks', '1')")
        await archived(serving)


def test_an_app_with_nothing_to_run_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"queues=\[\.\.\.\]"):
        Worker(Stepwell())


def reader_of(definition: QueueWorker[..., Any]) -> QueueReader:
    """One that reads nothing by itself."""
    settings, bindings = Settings(dsn="dbname=none"), Bindings(Stepwell(queues=[definition]))
    hands = hands_of(settings, uuid4(), bindings, Desk(1), unheard)
    return QueueReader(definition, hands, 1.0, lambda: None)


def came(reader: QueueReader, msg_id: int) -> Held:
    now = datetime.now(UTC)
    reader._begin(Message(msg_id, 1, now, now, "1", None))  # pyright: ignore[reportPrivateUsage]
    return reader.holding[msg_id]


async def test_a_handler_that_is_cut_off_before_it_began_gives_its_message_back() -> None:
    @queue_worker("tasks")
    async def handle(number: int) -> None: ...

    reader = reader_of(handle)
    came(reader, 7)
    reader.close()
    reader.cut_off()
    await asyncio.wait(reader.bodies)
    await asyncio.sleep(0)
    [ended] = reader._ended  # pyright: ignore[reportPrivateUsage]
    assert (ended.ending.outcome, ended.ending.delay, reader.bodies) == ("retry", 0, set())


async def test_a_message_that_is_gone_because_it_commits_is_not_lost() -> None:
    """Who extends the others looked for it just then, and did not find it any more."""

    @queue_worker("tasks")
    async def handle(number: int) -> None:
        await asyncio.Event().wait()

    reader = reader_of(handle)
    held = came(reader, 7)
    held.closing = True
    reader.lose([held])
    held.closing, held.settled = False, True
    reader.lose([held])
    assert not held.gone
    held.settled = False  # it could not commit, so somebody else may have it
    reader.lose([held])
    assert held.gone
    await asyncio.wait(reader.bodies)
