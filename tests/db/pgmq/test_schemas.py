"""Whose schemas there are, and who may make them; names of queues that meet in one of ours."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from stepwell.errors import SchemaError
from tests.db.conftest import Connect
from tests.db.hands import Hands
from tests.db.shapes import single
from tests.db.waiting import held_up, transaction
from tests.servers import DatabaseServer

from .queues import Queues
from .test_extension import migrated


@pytest.fixture(scope="module")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def conn(empty_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def role(conn: psycopg.Connection) -> Iterator[str]:
    """One that may not make schemas."""
    name = f"maker_{conn.info.dbname}"
    conn.execute(sql.SQL("create role {}").format(sql.Identifier(name)))
    yield name
    conn.execute(sql.SQL("drop owned by {} cascade").format(sql.Identifier(name)))
    conn.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


def test_a_schema_pgmq_of_something_else_stands_in_no_flow_s_way(conn: psycopg.Connection) -> None:
    conn.execute("create schema pgmq; create table pgmq.other ()")
    migrated(conn.info.dsn)
    told: list[str] = []
    conn.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    hands = Hands(conn)
    hands.define(single("flow"))
    assert any("has no queue in schema pgmq, which is none of pgmq" in t for t in told)
    hands.register()
    hands.begin("flow")
    assert hands.drain() == 1


def test_who_may_not_make_schemas_is_told_how_it_may(conn: psycopg.Connection, role: str) -> None:
    theirs = make_conninfo(conn.info.dsn, options=f"-c role={role}")
    with pytest.raises(SchemaError, match=f"cannot make schema pgflow .* to {role}; or"):
        migrated(theirs)
    owner = sql.Identifier(role)
    conn.execute(sql.SQL("create schema pgflow authorization {}").format(owner))
    with pytest.raises(SchemaError, match="cannot make schema pgmq"):
        migrated(theirs)


def test_empty_schemas_that_were_made_for_us_are_enough(
    conn: psycopg.Connection, role: str
) -> None:
    for schema in ("pgflow", "pgmq"):
        made = sql.SQL("create schema {} authorization {}")
        conn.execute(made.format(sql.Identifier(schema), sql.Identifier(role)))
    theirs = make_conninfo(conn.info.dsn, options=f"-c role={role}")
    assert migrated(theirs) != []
    conn.execute("update pgflow.stepwell_schema set functions = 'of before'")
    assert migrated(theirs) == []
    Hands(conn).define(single("flow"))
    assert conn.execute("select queue_name from pgmq.list_queues()").fetchall() == [("flow",)]


@pytest.mark.parametrize("suffix", ["msg_id_seq", "vt_idx", "pkey"])
def test_a_queue_may_have_the_name_of_what_belongs_to_another(
    connect: Connect, suffix: str
) -> None:
    queues = Queues(connect())
    names = [f"first_{suffix}", "first", "second", f"second_{suffix}"]
    queues.create(*names)
    for name in names:
        queues.send(name, name)
        assert queues.said(name) == [name]
        assert queues.value("select total_messages from pgmq.metrics(%s)", name) == 1


def test_a_message_under_way_keeps_its_queue_when_a_flow_takes_the_name(connect: Connect) -> None:
    sender, deployer = Queues(connect()), Queues(connect())
    sender.create("jobs")
    with transaction(sender.conn):
        sender.send("jobs", 1)
        made = held_up(
            lambda: deployer.rows("select pgflow.create_flow('jobs')"), deployer.conn, sender.conn
        )
    made.result(20)
    assert sender.said("jobs") == [1]


def test_what_turns_plans_off_turns_off_their_compilation_too(connect: Connect) -> None:
    """Before Postgres 18 such a plan counts as so dear that each call of it would be compiled."""
    slow = Queues(connect()).rows(
        "select oid::regprocedure from pg_proc where pronamespace = 'pgflow'::regnamespace"
        " and array_to_string(proconfig, ',') like %s and not 'jit=off' = any (proconfig)",
        "%enable_seqscan=off%",
    )
    assert slow == []
