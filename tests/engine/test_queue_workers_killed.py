"""Queue workers that are killed, or whose answers are lost: every message is handled, and none is
archived twice."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

from stepwell import Stepwell, queue_worker
from stepwell.observe.events import DatabaseLost, MessageArchived, MessageFailed, QueueOpened
from tests.chaos.proxy import proxied

from .cli_programs import Program, environment, write_program
from .workshop import Workshop

PATIENCE = 60.0
PROGRAM = """
import os
import signal
import time
from pathlib import Path

from stepwell import MessageContext, RetryPolicy, Stepwell, queue_worker

@queue_worker("tasks", visibility_timeout=6, max_concurrent=5, retry=RetryPolicy(limit=0))
def handle(number: int, ctx: MessageContext) -> None:
    print(f"handling {number}, read {ctx.read_ct}", flush=True)
    if number == 0 and ctx.read_ct == 1:
        time.sleep(600)

@queue_worker("deadly", visibility_timeout=1, retry=RetryPolicy(limit=0))
def die(number: int) -> None:
    if number == 13:
        os._exit(1)
    print(f"survived {number}", flush=True)

@queue_worker("ledger", transactional=True, visibility_timeout=3, retry=RetryPolicy(limit=0))
def enter(number: int, ctx: MessageContext) -> None:
    ctx.sync_connection.execute("insert into ledger values (%s)", (number,))
    print(f"wrote {number}, read {ctx.read_ct}", flush=True)
    if number == 13 and ctx.read_ct == 1:
        os.kill(os.getpid(), signal.SIGKILL)

app = Stepwell(queues=[handle, die, enter])
"""


class Crew:
    """Workers in processes of their own, killed at the end."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self._folder = folder
        self._target = write_program(folder, PROGRAM)
        self._environment = environment(folder, DATABASE_URL=dsn)
        self._hired: list[Program] = []

    def hire(self, queue: str) -> Program:
        words = ["worker", self._target, "--poll", "0.2", "--queues", queue, "--logs", "human"]
        member = Program(*words, environment=self._environment, cwd=self._folder)
        self._hired.append(member)
        member.wait_for("QueueOpened")
        return member

    def close(self) -> None:
        for member in self._hired:
            member.close()


@pytest.fixture
def crew(dsn: str, tmp_path: Path) -> Generator[Crew]:
    crew = Crew(dsn, tmp_path)
    yield crew
    crew.close()


@pytest.mark.timeout(150)
async def test_what_a_killed_worker_had_is_read_again(workshop: Workshop, crew: Crew) -> None:
    member = await asyncio.to_thread(crew.hire, "tasks")
    await workshop.client.send("tasks", 0)
    await asyncio.to_thread(member.wait_for, "handling 0, read 1")
    member.signal(signal.SIGKILL)
    await asyncio.to_thread(member.end)
    other = await asyncio.to_thread(crew.hire, "tasks")
    await asyncio.to_thread(other.wait_for, "handling 0, read 2")
    await workshop.until("select 1 from pgmq.a_tasks where read_ct = 2", patience=PATIENCE)
    assert workshop.rows("select * from pgmq.q_tasks") == []
    assert workshop.rows("select * from pgflow.dead_letters") == [], "a lost worker is no failure"


@pytest.mark.timeout(150)
async def test_a_message_that_kills_its_workers_becomes_a_dead_letter(
    workshop: Workshop, crew: Crew
) -> None:
    await workshop.client.create_queue("deadly")
    await workshop.client.send("deadly", 13)
    for read in range(1, 5):
        member = await asyncio.to_thread(crew.hire, "deadly")
        assert await asyncio.to_thread(member.end) == 1
        assert workshop.rows("select read_ct from pgmq.q_deadly") == [(read,)]
    await workshop.client.send("deadly", 14)
    member = await asyncio.to_thread(crew.hire, "deadly")
    await asyncio.to_thread(member.wait_for, "survived 14")
    rows = await workshop.until(
        "select message, read_ct, error_type from pgflow.dead_letters", patience=PATIENCE
    )
    assert rows == [(13, 5, "NeverFinished")]


@pytest.mark.timeout(150)
async def test_what_a_worker_wrote_that_is_killed_before_its_commit_is_there_once(
    workshop: Workshop, crew: Crew
) -> None:
    workshop.rows("create table ledger (number int primary key)")
    await workshop.client.create_queue("ledger")
    await workshop.client.send("ledger", 13)
    member = await asyncio.to_thread(crew.hire, "ledger")
    assert await asyncio.to_thread(member.end) == -signal.SIGKILL
    assert workshop.rows("select read_ct from pgmq.q_ledger") == [(1,)]
    other = await asyncio.to_thread(crew.hire, "ledger")
    await asyncio.to_thread(other.wait_for, "wrote 13, read")
    await workshop.until("select 1 from pgmq.a_ledger", patience=PATIENCE)
    assert workshop.rows("select number from ledger") == [(13,)]
    assert workshop.rows("select 1 from pgflow.dead_letters") == []


@pytest.mark.timeout(150)
async def test_lost_answers_lose_no_message_and_repeat_no_body(workshop: Workshop) -> None:
    bodies: Counter[int] = Counter()

    @queue_worker("tasks", visibility_timeout=10, max_concurrent=20)
    async def handle(number: int) -> None:
        bodies[number] += 1
        await asyncio.sleep(0.001)

    chance = random.Random(7)
    async with proxied(workshop.dsn) as proxy:
        app = Stepwell(queues=[handle])
        async with workshop.worker(app=app, dsn=proxy.dsn, lease=30.0, poll=0.2) as serving:
            await serving.events.first(QueueOpened)
            proxy.cut = lambda said: "close_messages" in said and chance.random() < 0.3
            await workshop.client.send_batch("tasks", range(200))
            sql = "select 1 from pgmq.a_tasks having count(*) = 200"
            await workshop.until(sql, patience=PATIENCE)
            assert proxy.cuts > 2
            cuts = proxy.cuts
            proxy.cut = lambda said: "read_messages" in said and proxy.cuts < cuts + 2
            await workshop.client.send_batch("tasks", range(200, 210))
            sql = "select 1 from pgmq.a_tasks having count(*) = 210"
            await workshop.until(sql, patience=PATIENCE)
            assert serving.events.of(MessageFailed) == []
    assert bodies == Counter(range(210))
    assert workshop.rows("select * from pgmq.q_tasks") == []


async def test_a_database_that_goes_away_is_waited_for(workshop: Workshop) -> None:
    handled: list[int] = []
    held, go_on = asyncio.Event(), asyncio.Event()

    @queue_worker("tasks", visibility_timeout=60)
    async def handle(number: int) -> None:
        held.set()
        await go_on.wait()
        handled.append(number)

    async with proxied(workshop.dsn) as proxy:
        app = Stepwell(queues=[handle])
        async with workshop.worker(app=app, dsn=proxy.dsn, lease=60.0, poll=0.2) as serving:
            await serving.events.first(QueueOpened)
            await workshop.client.send("tasks", 1)
            async with asyncio.timeout(PATIENCE):
                await held.wait()
            proxy.refusing = True
            proxy.cut_all()
            go_on.set()
            await workshop.client.send("tasks", 2)
            await serving.events.first(DatabaseLost)
            assert serving.events.of(MessageArchived) == []
            proxy.refusing = False
            await serving.events.until(
                lambda: len(serving.events.of(MessageArchived)) == 2, PATIENCE
            )
    assert handled == [1, 2]
