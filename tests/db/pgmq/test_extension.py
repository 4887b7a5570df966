"""Where schema pgmq is the extension's, it stays so; flows are seen in it as queues."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from stepwell.db import migrate
from tests.chaos.foreign import ForeignWorker
from tests.db.hands import Hands
from tests.db.invariants import broken
from tests.db.shapes import chain, flow, single, step

from .flows import foreign, read, steps

EXTENSION = cast(LiteralString, (Path(__file__).parent / "extension.sql").read_text())
IDENTITY: LiteralString = (
    "select oid::regprocedure::text, md5(pg_get_functiondef(oid)) from pg_proc"
    " where pronamespace = 'pgmq'::regnamespace order by 1"
)


def migrated(dsn: str) -> list[str]:
    async def run() -> list[str]:
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            return await migrate.migrate(conn)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


@pytest.fixture
def conn(empty_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(EXTENSION)
        yield conn


@pytest.fixture
def hands(conn: psycopg.Connection) -> Iterator[Hands]:
    """With the extension, and then our schema."""
    migrated(conn.info.dsn)
    hands = Hands(conn)
    yield hands
    assert broken(conn) == []


def test_what_is_theirs_is_left_as_it_is(conn: psycopg.Connection) -> None:
    conn.execute("select pgmq.create('tasks'); select pgmq.send('tasks', '1')")
    before = conn.execute(IDENTITY).fetchall()
    assert migrated(conn.info.dsn) != []
    assert migrated(conn.info.dsn) == []
    assert conn.execute(IDENTITY).fetchall() == before
    assert conn.execute("select message from pgmq.q_tasks").fetchall() == [(1,)]


def test_a_foreign_worker_serves_a_flow_through_the_extension(hands: Hands) -> None:
    worker = foreign(hands, flow("Flow", step("first"), step("second", "first", baseDelay=0)))
    hands.begin("Flow", 1)
    [message] = read(worker)
    assert (message.read_ct, message.message["step_slug"]) == (1, "first")
    assert read(worker) == []
    [task] = worker.start([message])
    assert read(worker) == []
    worker.complete(task, {"a": 1})
    [task] = worker.start(worker.poll())
    assert task.input == {"first": {"a": 1}}
    worker.fail(task, "boom")
    [message] = worker.poll()
    assert message.read_ct == 2
    [task] = worker.start([message])
    worker.complete(task, 2)
    assert hands.rows("select status, output from pgflow.runs") == [("completed", {"second": 2})]
    archived = hands.rows(
        "select message ->> 'step_slug', read_ct from pgmq.a_flow order by msg_id"
    )
    assert archived == [("first", 1), ("second", 2)]


def test_two_readers_share_through_the_extension(hands: Hands) -> None:
    one = foreign(hands, single("flow"))
    hands.start("flow", *range(6))
    with psycopg.connect(hands.conn.info.dsn, autocommit=True) as conn:
        two = ForeignWorker(conn, "flow")
        with hands.conn.transaction():
            mine = {message.msg_id for message in read(one, qty=2)}
            theirs = {message.msg_id for message in read(two)}
    assert (len(mine), len(theirs), mine & theirs) == (2, 4, set())


def test_the_extensions_other_calls_on_a_flow(hands: Hands) -> None:
    worker = foreign(hands, chain("flow", 2))
    hands.start("flow", 1, 2)
    [message] = read(worker, qty=1)
    moved: LiteralString = "select msg_id from pgmq.set_vt('flow', %s, 0)"
    assert hands.rows(moved, message.msg_id) == [(message.msg_id,)]
    assert hands.rows("select pgmq.archive('flow', %s)", message.msg_id) == [(False,)]
    assert hands.rows("select pgmq.delete('flow', %s)", message.msg_id) == [(False,)]
    batch: LiteralString = "select msg_id from pgflow.set_vt_batch('flow', %s, array[60])"
    assert hands.rows(batch, [message.msg_id]) == [(message.msg_id,)]
    assert len(read(worker)) == 1
    assert hands.rows("select queue_length, visible from pgmq.metrics('flow')") == [(2, 0)]
    with pytest.raises(psycopg.Error, match="pgmq cannot send to it") as refused:
        hands.rows("select pgmq.send('flow', '1')")
    assert refused.value.sqlstate == "PF409"
    assert hands.rows("select queue_name from pgmq.list_queues()") == [("flow",)]


def test_a_deleted_flow_takes_its_views_along(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.rows("select pgflow.delete_flow_and_data('flow')")
    left = hands.rows(
        "select relname from pg_class where relnamespace = 'pgmq'::regnamespace and relkind = 'v'"
    )
    assert left == [] and hands.rows("select * from pgmq.list_queues()") == []


@pytest.mark.parametrize(
    ("slug", "why"),
    [
        ("taken", "a queue has that name there"),
        ("FLOW", "flow flow has that name there"),
        ("x" * 48, "the name is longer than 47 characters"),
    ],
)
def test_a_flow_without_a_queue_there_says_why_and_runs(hands: Hands, slug: str, why: str) -> None:
    hands.rows("select pgmq.create('taken')")
    hands.define(single("flow"))
    told: list[str] = []
    hands.conn.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    hands.define(single(slug))
    assert told == [f"flow {slug} has no queue in schema pgmq: {why}"]
    hands.register()
    hands.begin(slug)
    assert hands.drain() == 1


def test_without_the_right_to_create_there_flows_run_all_the_same(conn: psycopg.Connection) -> None:
    name = f"plain_{conn.info.dbname}"
    role, database = sql.Identifier(name), sql.Identifier(conn.info.dbname)
    conn.execute(sql.SQL("create role {}").format(role))
    try:
        conn.execute(sql.SQL("grant create on database {} to {}").format(database, role))
        theirs = make_conninfo(conn.info.dsn, options=f"-c role={name}")
        migrated(theirs)
        with psycopg.connect(theirs, autocommit=True) as plain:
            told: list[str] = []
            plain.add_notice_handler(lambda said: told.append(said.message_hint or ""))
            hands = Hands(plain)
            hands.define(single("flow"))
            assert any("Grant create on schema pgmq" in hint for hint in told)
            hands.register()
            hands.begin("flow")
            assert hands.drain() == 1
    finally:
        conn.execute(sql.SQL("drop owned by {} cascade").format(role))
        conn.execute(sql.SQL("drop role {}").format(role))


def test_flows_from_before_are_seen_once_the_extension_is_there(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        worker = foreign(hands, single("flow"))
        hands.begin("flow")
        conn.execute("drop schema pgmq cascade")
        conn.execute(EXTENSION)
        conn.execute("update pgflow.stepwell_schema set functions = 'of before'")
        migrated(dsn)
        assert steps(read(worker)) == [("s0", 0)]


def test_our_schema_comes_back_when_it_was_dropped(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        worker = foreign(hands, single("flow"))
        hands.begin("flow")
        conn.execute("drop schema pgmq cascade")
        hands.define(single("other"))  # nobody's schema is in the way of a flow
        migrated(dsn)
        assert steps(read(worker)) == [("s0", 0)]
        conn.execute("select pgmq.create('tasks')")
