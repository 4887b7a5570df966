"""A plain queue: what is sent is read, hidden, read again, archived or deleted."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.db.conftest import Connect
from tests.db.waiting import transaction, waits_for_none
from tests.servers import DatabaseServer

from .queues import Queues

NAMES = ["tasks", "Tasks", "my-queue", "with space", 'quo"ted', "ü" * 30, "x" * 128, "select"]
BAD = ["", "x" * 129, "a;b", "a$b", "a--b", "it's"]
Q: LiteralString = "select * from pgmq."


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def tasks(queues: Queues) -> Queues:
    queues.create("tasks")
    return queues


# --- create, drop, list, names ---


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_data(queues: Queues, name: str) -> None:
    queues.create(name)
    queues.send(name, {"for": name})
    assert queues.said(name) == [{"for": name}]
    relation = queues.value("select pgmq.format_table_name(%s, 'q')", name)
    assert queues.value("select to_regclass(format('pgmq.%%I', %s::text)) is not null", relation)
    queues.value("select pgmq.drop_queue(%s)", name)
    assert queues.rows("select * from pgmq.list_queues()") == []


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("call", ["create", "send", "read", "metrics"])
def test_a_name_that_is_none_is_refused(queues: Queues, name: str, call: str) -> None:
    statements: dict[str, LiteralString] = {
        "create": "select pgmq.create(%s)",
        "send": "select pgmq.send(%s, '{}')",
        "read": "select pgmq.read(%s, 1, 1)",
        "metrics": "select pgmq.metrics(%s)",
    }
    with pytest.raises(psycopg.Error, match="a queue name has") as refused:
        queues.rows(statements[call], name)
    assert refused.value.sqlstate == "PF422"


def test_names_that_differ_in_case_alone_have_queues_of_their_own(queues: Queues) -> None:
    queues.create("Tasks", "tasks")
    queues.send("Tasks", 1)
    queues.send("tasks", 2)
    assert queues.said("Tasks") == [1]
    assert queues.said("tasks") == [2]
    assert queues.value("select pgmq.format_table_name('Tasks', 'q')") == "q_tasks"
    other = queues.value("select pgmq.format_table_name('tasks', 'a')")
    assert other.startswith("a_tasks_")


def test_a_name_that_nobody_has_finds_the_queue_that_differs_in_case(queues: Queues) -> None:
    """As with pgmq, which does not tell them apart."""
    queues.create("Tasks")
    queues.send("TASKS", 1)
    assert queues.said("tasks") == [1]


def test_a_queue_that_exists_stays_as_it_is(tasks: Queues) -> None:
    tasks.send("tasks", 1)
    tasks.create("tasks")
    tasks.rows("select pgmq.create_unlogged('tasks')")
    assert tasks.said("tasks") == [1]


def test_queues_are_listed(queues: Queues) -> None:
    queues.create("b")
    queues.rows("select pgmq.create_unlogged('a')")
    queues.rows("select pgmq.create_non_partitioned('c')")
    listed = queues.rows("select queue_name, is_partitioned, is_unlogged from pgmq.list_queues()")
    assert listed == [("a", False, True), ("b", False, False), ("c", False, False)]
    kinds = "select relpersistence from pg_class where relname = 'q_a'"
    assert queues.value(kinds) == "u"


def test_a_dropped_queue_is_gone(tasks: Queues) -> None:
    assert tasks.value("select pgmq.drop_queue('tasks')") is True
    assert tasks.value("select to_regclass('pgmq.a_tasks')") is None
    with pytest.raises(psycopg.errors.UndefinedTable, match=r'"pgmq\.q_tasks" does not exist'):
        tasks.send("tasks", 1)


def test_a_queue_that_is_not_there_is_not_dropped(queues: Queues) -> None:
    told: list[str] = []
    queues.conn.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    assert queues.value("select pgmq.drop_queue('nobody')") is False
    assert told == ["there is no queue 'nobody'"]


def test_two_who_create_the_same_queue_take_turns(connect: Connect) -> None:
    first, second = Queues(connect()), Queues(connect())
    with transaction(first.conn):
        first.create("tasks")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            waits_for_none(lambda: second.create("tasks"), second.conn)
    second.create("tasks")
    assert len(second.rows("select * from pgmq.list_queues()")) == 1


UNKNOWN: list[LiteralString] = [
    "select pgmq.send('nobody', '{}')",
    "select pgmq.send_batch('nobody', array['{}']::jsonb[])",
    "select pgmq.read('nobody', 1, 1)",
    "select pgmq.read_with_poll('nobody', 1, 1)",
    "select pgmq.pop('nobody')",
    "select pgmq.set_vt('nobody', 1, 1)",
    "select pgmq.archive('nobody', 1)",
    "select pgmq.delete('nobody', array[1])",
    "select pgmq.purge_queue('nobody')",
    "select pgmq.metrics('nobody')",
    "select pgmq.enable_notify_insert('nobody')",
]


@pytest.mark.parametrize("call", UNKNOWN)
def test_an_unknown_queue_is_an_unknown_relation(queues: Queues, call: LiteralString) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable) as unknown:
        queues.rows(call)
    assert unknown.value.diag.message_primary == 'relation "pgmq.q_nobody" does not exist'


# --- send ---


def test_every_way_to_send(tasks: Queues) -> None:
    sent: list[LiteralString] = [
        "select * from pgmq.send('tasks', '1')",
        "select * from pgmq.send('tasks', '2', '{\"h\": 1}'::jsonb)",
        "select * from pgmq.send('tasks', '3', 60)",
        "select * from pgmq.send('tasks', '4', pgflow.now() + interval '1 hour')",
        "select * from pgmq.send('tasks', '5', '{}', 60)",
        "select * from pgmq.send('tasks', '6', '{}', pgflow.now() + interval '1 hour')",
        "select * from pgmq.send_batch('tasks', array['7']::jsonb[])",
        "select * from pgmq.send_batch('tasks', array['8']::jsonb[], array['{}']::jsonb[])",
        "select * from pgmq.send_batch('tasks', array['9']::jsonb[], 60)",
        "select * from pgmq.send_batch('tasks', array['10']::jsonb[], pgflow.now() + '1 hour')",
        "select * from pgmq.send_batch('tasks', array['11']::jsonb[], array['{}']::jsonb[], 60)",
        "select * from pgmq.send_batch('tasks', array['12']::jsonb[], array['{}']::jsonb[],"
        " pgflow.now() + '1 hour')",
        "select * from pgmq.send(queue_name => 'tasks', msg => '13', delay => 0)",
    ]
    assert [tasks.value(call) for call in sent] == list(range(1, 14))
    assert tasks.said("tasks", 3600 * 24) == [1, 2, 7, 8, 13]
    tasks.at("61 seconds")
    assert tasks.said("tasks", 3600 * 24) == [3, 5, 9, 11]
    tasks.at("61 minutes")
    assert tasks.said("tasks", 3600 * 24) == [4, 6, 10, 12]
    headers = tasks.rows(
        "select msg_id, headers from pgmq.q_tasks where headers is not null order by 1"
    )
    assert headers == [(2, {"h": 1}), (5, {}), (6, {}), (8, {}), (11, {}), (12, {})]


def test_a_batch_keeps_its_order(tasks: Queues) -> None:
    many = [Jsonb(n) for n in range(1000)]
    ids = tasks.rows("select * from pgmq.send_batch('tasks', %s)", many)
    assert ids == [(n + 1,) for n in range(1000)]
    assert tasks.said("tasks", qty=1000) == list(range(1000))
    assert tasks.rows("select * from pgmq.send_batch('tasks', '{}')") == []


def test_headers_must_be_as_many_as_messages(tasks: Queues) -> None:
    with pytest.raises(psycopg.Error, match="2 messages and 1 headers"):
        tasks.rows(
            "select pgmq.send_batch('tasks', array['1', '2']::jsonb[], array['{}']::jsonb[])"
        )


# --- read, pop, set_vt ---


def test_what_is_read_is_hidden_for_its_time(tasks: Queues) -> None:
    tasks.send("tasks", "a", "b", "c")
    first = tasks.read("tasks", vt=30, qty=2)
    assert [(row[0], row[1], row[4], row[5]) for row in first] == [
        (1, 1, "a", None),
        (2, 1, "b", None),
    ]
    assert all(row[3] - row[2] >= timedelta(seconds=29) for row in first)
    assert tasks.said("tasks") == ["c"]
    assert tasks.said("tasks") == []
    tasks.at("31 seconds")
    assert [(row[1], row[4]) for row in tasks.read("tasks")] == [(2, "a"), (2, "b"), (2, "c")]


def test_a_read_without_a_time_hides_nothing(tasks: Queues) -> None:
    tasks.send("tasks", "a")
    assert [tasks.read("tasks", vt=0)[0][1] for _ in range(3)] == [1, 2, 3]


def test_a_read_can_ask_for_what_the_message_contains(tasks: Queues) -> None:
    tasks.send("tasks", {"kind": "a"}, {"kind": "b", "n": 1}, {"kind": "b"})
    found = tasks.rows("select msg_id from pgmq.read('tasks', 9, 9, '{\"kind\": \"b\"}')")
    assert found == [(2,), (3,)]
    assert tasks.said("tasks") == [{"kind": "a"}]


def test_readers_never_wait_for_each_other(connect: Connect) -> None:
    first, second = Queues(connect()), Queues(connect())
    first.create("tasks")
    first.send("tasks", 1, 2, 3)
    with transaction(first.conn):
        assert first.said("tasks", qty=2) == [1, 2]
        assert waits_for_none(lambda: second.said("tasks"), second.conn) == [3]


def test_pop_takes_the_oldest_for_good(tasks: Queues) -> None:
    tasks.send("tasks", "a", "b")
    assert [row[4] for row in tasks.rows("select * from pgmq.pop('tasks')")] == ["a"]
    assert tasks.rows("select message from pgmq.q_tasks") == [("b",)]
    assert tasks.rows("select message from pgmq.a_tasks") == []
    tasks.read("tasks")
    assert tasks.rows("select * from pgmq.pop('tasks')") == []


def test_set_vt_counts_from_now(tasks: Queues) -> None:
    tasks.send("tasks", "a")
    tasks.read("tasks", vt=1000)
    answer = tasks.rows("select msg_id, read_ct, message from pgmq.set_vt('tasks', 1, 5)")
    assert answer == [(1, 1, "a")]
    assert tasks.said("tasks") == []
    tasks.at("6 seconds")
    assert tasks.said("tasks", vt=1000) == ["a"]
    tasks.rows("select pgmq.set_vt('tasks', 1, 0)")
    assert tasks.said("tasks") == ["a"]
    assert tasks.rows("select pgmq.set_vt('tasks', 99, 5)") == []


def test_a_poll_ends_with_the_first_message(connect: Connect) -> None:
    reader, sender = Queues(connect()), Queues(connect())
    reader.create("tasks")
    with psycopg.connect(reader.conn.info.dsn) as waiting:  # not autocommit: one transaction
        cursor = waiting.cursor()
        sender.send("tasks", "here")
        cursor.execute("select message from pgmq.read_with_poll('tasks', 30, 5, 60, 10)")
        assert cursor.fetchall() == [("here",)]


def test_a_poll_sees_what_is_sent_while_it_waits(connect: Connect) -> None:
    reader, sender = Queues(connect()), Queues(connect())
    reader.create("tasks")
    with reader.conn.pipeline():
        cursor = reader.conn.execute(
            "select message from pgmq.read_with_poll('tasks', 30, 5, 60, 20)"
        )
        sender.send("tasks", "late")
        assert cursor.fetchall() == [("late",)]


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_poll_ends_with_its_time(tasks: Queues, seconds: int) -> None:
    call: LiteralString = "select * from pgmq.read_with_poll('tasks', 30, 5, %s)"
    assert tasks.rows(call, seconds) == []
    if not seconds:  # the time is over before the first look
        tasks.send("tasks", 1)
        assert tasks.rows(call, seconds) == []


def test_a_poll_ends_although_the_clock_stands_still(tasks: Queues) -> None:
    tasks.at("0")
    assert tasks.rows("select * from pgmq.read_with_poll('tasks', 30, 5, 1)") == []


# --- archive, delete, purge ---


def test_an_archived_message_is_kept(tasks: Queues) -> None:
    tasks.rows("select pgmq.send('tasks', '\"a\"', '{\"h\": 1}'::jsonb)")
    tasks.read("tasks")
    assert tasks.value("select pgmq.archive('tasks', 1)") is True
    kept = tasks.rows("select msg_id, read_ct, message, headers from pgmq.a_tasks")
    assert kept == [(1, 1, "a", {"h": 1})]
    assert tasks.rows("select 1 from pgmq.a_tasks where archived_at >= enqueued_at") == [(1,)]
    assert tasks.value("select pgmq.archive('tasks', 1)") is False
    assert tasks.rows("select * from pgmq.q_tasks") == []


@pytest.mark.parametrize("call", ["archive", "delete"])
def test_many_at_once_answer_with_those_that_were_there(tasks: Queues, call: str) -> None:
    tasks.send("tasks", *range(4))
    statements: dict[str, LiteralString] = {
        "archive": "select * from pgmq.archive('tasks', array[4, 2, 99]) order by 1",
        "delete": "select * from pgmq.delete('tasks', array[4, 2, 99]) order by 1",
    }
    assert tasks.rows(statements[call]) == [(2,), (4,)]
    assert tasks.said("tasks") == [0, 2]
    assert len(tasks.rows("select * from pgmq.a_tasks")) == (2 if call == "archive" else 0)


def test_a_deleted_message_is_forgotten(tasks: Queues) -> None:
    tasks.send("tasks", "a")
    assert tasks.value("select pgmq.delete('tasks', 1)") is True
    assert tasks.value("select pgmq.delete('tasks', 1)") is False
    assert tasks.rows("select * from pgmq.a_tasks") == []


def test_a_purged_queue_is_empty_and_keeps_its_archive(tasks: Queues) -> None:
    tasks.send("tasks", 1, 2, 3)
    tasks.rows("select pgmq.archive('tasks', 1)")
    assert tasks.value("select pgmq.purge_queue('tasks')") == 2
    assert tasks.said("tasks") == []
    assert len(tasks.rows("select * from pgmq.a_tasks")) == 1
    assert tasks.send("tasks", 4) == [4]


# --- metrics ---


def test_metrics_of_a_plain_queue(tasks: Queues) -> None:
    metrics: LiteralString = (
        "select queue_name, queue_length, newest_msg_age_sec, oldest_msg_age_sec, total_messages,"
        " queue_visible_length from pgmq.metrics('tasks')"
    )
    assert tasks.rows(metrics) == [("tasks", 0, None, None, 0, 0)]
    tasks.conn.execute("set pgflow.now = '2030-01-01 00:00:00Z'")
    tasks.send("tasks", 1, 2)
    tasks.conn.execute("set pgflow.now = '2030-01-01 00:01:40Z'")
    tasks.send("tasks", 3)
    tasks.read("tasks", qty=1)
    tasks.rows("select pgmq.delete('tasks', 2)")
    name, length, newest, oldest, total, visible = tasks.rows(metrics)[0]
    assert (name, length, total, visible) == ("tasks", 2, 3, 1)
    assert newest == 0 and 99 <= oldest <= 101


def test_metrics_of_all_queues(queues: Queues) -> None:
    queues.create("b", "a")
    queues.send("b", 1)
    rows: list[tuple[Any, ...]] = queues.rows(
        "select queue_name, queue_length from pgmq.metrics_all()"
    )
    assert rows == [("a", 0), ("b", 1)]
