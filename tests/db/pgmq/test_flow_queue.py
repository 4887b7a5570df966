"""A flow's queue is the task table: its tasks are messages, read, hidden, started and ended."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from tests.chaos.foreign import ForeignWorker
from tests.db.conftest import Connect
from tests.db.hands import Hands
from tests.db.shapes import chain, flow, single, spread, step
from tests.db.waiting import held_up, transaction, waits_for_none

from .flows import foreign, read, steps

# --- what the relations say ---


def test_the_message_of_a_task_names_it(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    run = hands.begin("flow", 1)
    [message] = read(worker)
    task = hands.rows("select message_id, queued_at from pgflow.step_tasks")[0]
    assert (message.msg_id, message.enqueued_at) == task
    assert message.message == {
        "flow_slug": "flow",
        "run_id": str(run),
        "step_slug": "s0",
        "task_index": 0,
    }
    assert (message.read_ct, message.headers) == (1, None)


def test_a_queue_shows_every_open_task_and_its_archive_the_closed_ones(hands: Hands) -> None:
    worker = foreign(hands, spread("flow"))
    hands.begin("flow", 1)
    [task] = worker.start(read(worker))
    worker.complete(task, [1, 2, 3])
    queue = hands.rows("select message ->> 'step_slug', read_ct from pgmq.q_flow order by msg_id")
    archive = hands.rows("select message ->> 'step_slug', read_ct from pgmq.a_flow")
    assert queue == [("each", 0)] * 3
    assert archive == [("list", 1)]
    assert hands.rows("select 1 from pgmq.a_flow where archived_at >= enqueued_at") == [(1,)]


def test_the_time_of_a_message_is_that_of_its_stage(hands: Hands) -> None:
    hands.define(flow("flow", step("now"), step("slow", timeout=7), step("later", startDelay=100)))
    hands.register()
    hands.begin("flow")
    hands.conn.execute("update pgflow.step_tasks set priority = 9 where step_slug = 'now'")
    [running] = hands.claim(1)
    assert running.step_slug == "slow"
    times = dict(hands.rows("select message ->> 'step_slug', vt from pgmq.q_flow"))
    started, queued = hands.rows("select max(started_at), min(queued_at) from pgflow.step_tasks")[0]
    assert (times["slow"] - started).total_seconds() == 9
    assert (times["later"] - queued).total_seconds() == 100
    assert times["now"] == queued


def test_what_is_blocked_or_paused_is_hidden_for_ever(hands: Hands) -> None:
    hands.define(single("flow"))
    first, second = hands.start("flow", 1, 2)
    hands.conn.execute("select pgflow.pause_run(%s)", (first,))
    hands.conn.execute(
        "update pgflow.step_tasks set stage = 'blocked', blocked_on = 'key/x' where run_id = %s",
        (second,),
    )
    assert hands.rows("select vt = 'infinity' from pgmq.q_flow") == [(True,), (True,)]
    hands.conn.execute("update pgflow.step_tasks set blocked_on = null, stage = 'ready'")


def test_a_step_that_waits_for_a_signal_is_no_message_until_it_has_one(hands: Hands) -> None:
    waits = step("wait") | {"stepType": "signal", "signalName": "go"}
    timed = step("timed", signalTimeout=60) | {"stepType": "signal", "signalName": "never"}
    worker = foreign(hands, flow("flow", waits, timed))
    run = hands.begin("flow")
    assert hands.rows("select * from pgmq.q_flow") == []
    ids = [id for (id,) in hands.rows("select message_id from pgflow.step_tasks")]
    call: LiteralString = "select * from pgflow.start_tasks('flow', %s, %s)"
    assert hands.rows(call, ids, worker.id) == []
    assert hands.rows("select * from pgmq.set_vt('flow', %s, 0)", ids[1]) == []
    hands.send(run, "go")
    assert steps(read(worker)) == [("wait", 0)]


def test_the_queue_is_the_flows_own_whatever_queue_its_tasks_are_in(hands: Hands) -> None:
    one, two = (foreign(hands, single(slug, queue="shared")) for slug in ("one", "two"))
    hands.begin("one")
    hands.begin("two")
    assert [m.message["flow_slug"] for m in read(one)] == ["one"]
    assert [m.message["flow_slug"] for m in read(two)] == ["two"]


# --- names ---


def test_long_names_and_names_that_differ_in_case_have_queues_of_their_own(hands: Hands) -> None:
    names = ["Foo", "foo", "x" * 128, "X" * 128, "y" * 60 + "a", "y" * 60 + "b"]
    for name in names:
        worker = foreign(hands, single(name))
        hands.begin(name)
        assert [m.message["flow_slug"] for m in read(worker)] == [name]
    relations = hands.rows("select pgmq.format_table_name(n, 'q') from unnest(%s::text[]) n", names)
    assert len(set(relations)) == len(names)
    assert relations[0] == ("q_foo",)
    listed = hands.rows("select queue_name from pgmq.list_queues() order by created_at")
    assert [name for (name,) in listed] == names


def test_a_plain_queue_of_that_name_makes_room_if_it_is_empty(hands: Hands) -> None:
    hands.rows("select pgmq.create('flow')")
    worker = foreign(hands, single("flow"))
    hands.begin("flow")
    assert len(read(worker)) == 1


def test_a_plain_queue_that_is_used_is_left_alone(hands: Hands) -> None:
    told: list[str] = []
    hands.conn.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    hands.rows("select pgmq.create('flow')")
    hands.rows("select pgmq.send('flow', '1')")
    hands.define(single("flow"))
    assert any("plain queue of that name, which is not empty" in said for said in told)
    hands.begin("flow")
    assert hands.rows("select message from pgmq.read('flow', 0, 10)") == [(1,)]
    assert hands.drain() == 1
    hands.rows("select pgmq.delete('flow', 1)")
    hands.conn.execute("select pgflow.expose_flows()")
    assert hands.rows("select message ->> 'step_slug' from pgmq.a_flow") == [("s0",)]


def test_creating_the_queue_of_a_flow_changes_nothing(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    hands.begin("flow")
    hands.rows("select pgmq.create('flow')")
    assert len(read(worker)) == 1


def test_a_deleted_flow_takes_its_queue_along(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.rows("select pgflow.delete_flow_and_data('flow')")
    assert hands.rows("select * from pgmq.list_queues()") == []
    assert hands.value("select to_regclass('pgmq.q_flow')") is None
    foreign(hands, single("flow"))


# --- reading ---


def test_what_is_read_is_hidden_from_foreign_workers_and_ours(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    hands.register()
    hands.start("flow", 1, 2, 3)
    assert len(read(worker, vt=5, qty=2)) == 2
    assert len(hands.claim()) == 1
    assert read(worker) == []
    hands.at("6 seconds")
    assert [message.read_ct for message in read(worker)] == [2, 2]
    hands.at("12 seconds")
    hands.promote()
    assert len(hands.claim()) == 2


def test_what_is_urgent_is_read_first(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    hands.begin("flow", priority=5)
    urgent = hands.begin("flow", priority=-5)
    assert [m.message["run_id"] for m in read(worker, qty=1)] == [str(urgent)]


def test_a_start_delay_and_a_retry_are_read_when_they_are_due(hands: Hands) -> None:
    worker = foreign(hands, flow("flow", step("later", startDelay=60, baseDelay=10)))
    hands.begin("flow")
    assert read(worker) == []
    hands.at("61 seconds")
    [task] = worker.start(read(worker))
    worker.fail(task, "boom")
    assert read(worker) == []
    hands.at("82 seconds")
    [task] = worker.start(read(worker))
    worker.complete(task, 1)
    assert hands.rows("select status, output from pgflow.runs") == [("completed", {"later": 1})]


def test_a_read_touches_no_task_of_other_flows(connect: Connect) -> None:
    """A poll is one long transaction: what it locked would stand still."""
    mine, others = Hands(connect()), Hands(connect())
    worker = foreign(mine, single("flow"))
    others.define(flow("other", step("later", startDelay=60)))
    others.begin("other")
    for hands in (mine, others):
        hands.at("61 seconds")
    with transaction(mine.conn):
        assert read(worker) == []
        promoted = waits_for_none(others.promote, others.conn)
    assert promoted.promoted == 1


def test_two_readers_never_have_the_same_message(connect: Connect) -> None:
    first, second = Hands(connect()), Hands(connect())
    one = foreign(first, single("flow"))
    two = ForeignWorker(second.conn, "flow")
    first.start("flow", *range(10))
    with transaction(first.conn):
        mine = {message.msg_id for message in read(one, qty=4)}
        theirs = waits_for_none(lambda: {m.msg_id for m in read(two)}, second.conn)
    assert (len(mine), len(theirs), mine & theirs) == (4, 6, set())


@pytest.mark.parametrize("kind", ["run", "flow", "queue"])
def test_nothing_that_is_paused_is_read_or_started(hands: Hands, kind: str) -> None:
    worker = foreign(hands, single("flow"))
    run = hands.begin("flow")
    known = read(worker, vt=0)
    target = str(run) if kind == "run" else "flow"
    pause: dict[str, LiteralString] = {
        "run": "select pgflow.pause_run(%s)",
        "flow": "select pgflow.pause_flow(%s)",
        "queue": "select pgflow.pause_queue(%s)",
    }
    resume: dict[str, LiteralString] = {
        "run": "select pgflow.resume_run(%s)",
        "flow": "select pgflow.resume_flow(%s)",
        "queue": "select pgflow.resume_queue(%s)",
    }
    hands.rows(pause[kind], target)
    assert worker.start(known) == []
    assert read(worker) == []
    hands.rows(resume[kind], target)
    assert len(worker.start(read(worker))) == 1


def test_a_read_that_asks_for_a_message(hands: Hands) -> None:
    worker = foreign(hands, spread("flow"))
    hands.begin("flow")
    [task] = worker.start(read(worker))
    worker.complete(task, ["a", "b", "c"])
    asked: LiteralString = (
        "select message -> 'task_index' from pgmq.read('flow', %s, 10, %s::jsonb)"
    )
    assert hands.rows(asked, 5, '{"task_index": 1}') == [(1,)]
    assert hands.rows(asked, 5, '{"step_slug": "total"}') == []
    hands.at("6 seconds")  # what is due is asked too
    assert hands.rows(asked, 0, '{"task_index": 1}') == [(1,)]
    assert len(read(worker)) == 3


def test_a_poll_ends_when_a_run_begins(connect: Connect) -> None:
    waiting, starting = Hands(connect()), Hands(connect())
    foreign(waiting, single("flow"))
    with waiting.conn.pipeline():
        poll = waiting.conn.execute("select msg_id from pgmq.read_with_poll('flow', 5, 10, 60, 20)")
        starting.begin("flow")
        assert len(poll.fetchall()) == 1


# --- moving ---


def test_set_vt_moves_what_is_ready_or_delayed(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    hands.begin("flow")
    [message] = read(worker, vt=1000)
    call: LiteralString = "select msg_id, read_ct from pgmq.set_vt('flow', %s, %s)"
    assert hands.rows(call, message.msg_id, 0) == [(message.msg_id, 1)]
    assert hands.rows("select stage from pgflow.step_tasks") == [("ready",)]
    assert hands.rows(call, message.msg_id, 60) == [(message.msg_id, 1)]
    assert read(worker) == []
    hands.at("61 seconds")
    assert len(worker.start(read(worker))) == 1
    assert hands.rows(call, message.msg_id, 0) == []  # running
    assert hands.rows(call, 10**6, 0) == []


def test_the_relation_can_be_updated(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    hands.start("flow", 1, 2)
    move: LiteralString = "update pgmq.q_flow set vt = now() + interval '1 minute' returning msg_id"
    assert len(hands.rows(move)) == 2
    assert hands.rows("select distinct stage from pgflow.step_tasks") == [("delayed",)]
    assert read(worker) == []
    hands.rows("update pgmq.q_flow set vt = now(), read_ct = 7 returning 1")
    assert [message.read_ct for message in read(worker)] == [8, 8]
    batch = hands.rows(
        "select msg_id from pgflow.set_vt_batch("
        "'flow', (select array_agg(msg_id) from pgmq.q_flow), array[0, 60])"
    )
    assert len(batch) == 2
    assert len(read(worker)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "update pgmq.q_flow set msg_id = 7",
        "update pgmq.q_flow set message = '{}'",
        "update pgmq.q_flow set vt = null",
        "insert into pgmq.q_flow (vt, message) values (now(), '{}')",
        "insert into pgmq.a_flow (msg_id, vt) values (1, now())",
        "select pgmq.send('flow', '{}')",
        "select pgmq.send_batch('flow', array['{}', '{}']::jsonb[])",
        "select pgmq.pop('flow')",
        "select pgmq.purge_queue('flow')",
        "select pgmq.drop_queue('flow')",
    ],
)
def test_what_would_be_no_task_is_refused_and_says_what_to_do(
    hands: Hands, statement: LiteralString
) -> None:
    hands.define(single("flow"))
    hands.begin("flow")
    with pytest.raises(psycopg.Error) as refused:
        hands.conn.execute(statement)
    assert refused.value.sqlstate in ("PF409", "23502")
    assert "pgflow." in (refused.value.diag.message_hint or "pgflow.")
    assert hands.value("select count(*) from pgmq.q_flow where vt <= now()") == 1


@pytest.mark.parametrize("verb", ["archive", "delete"])
def test_a_message_ends_with_its_task_alone(hands: Hands, verb: str) -> None:
    worker = foreign(hands, single("flow"))
    hands.begin("flow")
    told: list[str] = []
    hands.conn.add_notice_handler(lambda said: told.append(said.message_primary or ""))
    [message] = read(worker)
    one: dict[str, LiteralString] = {
        "archive": "select pgmq.archive('flow', %s::bigint)",
        "delete": "select pgmq.delete('flow', %s::bigint)",
    }
    many: dict[str, LiteralString] = {
        "archive": "select * from pgmq.archive('flow', %s::bigint[])",
        "delete": "select * from pgmq.delete('flow', %s::bigint[])",
    }
    assert hands.rows(one[verb], message.msg_id) == [(False,)]
    assert hands.rows(many[verb], [message.msg_id, 77]) == []
    assert (
        told == [f"message {message.msg_id} is an open task of flow flow: it was not {verb}d"] * 2
    )
    [task] = worker.start([message])
    worker.complete(task, 1)
    told.clear()
    assert hands.rows(one[verb], message.msg_id) == [(False,)]  # gone by itself
    assert told == []
    assert len(hands.rows("select * from pgmq.a_flow")) == 1


def test_deleting_from_the_relations_changes_nothing(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.register()
    first = hands.begin("flow")
    hands.drain()
    hands.begin("flow")
    assert hands.rows("delete from pgmq.q_flow returning 1") == []
    assert hands.rows("delete from pgmq.a_flow where archived_at < now() returning 1") == []
    assert hands.status(first) == "completed"
    assert hands.value("select count(*) from pgflow.step_tasks") == 2


# --- metrics ---


def test_metrics_of_a_flow_count_its_tasks(hands: Hands) -> None:
    worker = foreign(hands, chain("flow", 2))
    hands.define(single("other"))
    hands.start("flow", 1, 2, 3)
    hands.begin("other")
    [task] = worker.start(read(worker, qty=1))
    worker.complete(task, 1)
    read(worker, qty=1)
    metrics = hands.rows(
        "select queue_length, total_messages, queue_visible_length from pgmq.metrics('flow')"
    )
    assert metrics == [(3, 4, 2)]
    names = hands.rows("select queue_name from pgmq.metrics_all()")
    assert names == [("flow",), ("other",)]


def test_deploys_of_different_flows_wait_for_none(connect: Connect) -> None:
    """Two that deploy several flows each, in an order of their own, could wait in a circle."""
    first, second = Hands(connect()), Hands(connect())
    with transaction(first.conn):
        first.define(single("one"))
        waits_for_none(lambda: second.define(single("two")), second.conn)
        first.define(single("two"))


def test_names_that_differ_in_case_alone_take_turns(connect: Connect) -> None:
    first, second = Hands(connect()), Hands(connect())
    with transaction(first.conn):
        first.define(single("One"))
        later = held_up(lambda: second.define(single("one")), second.conn, first.conn)
    later.result(30)
    relations = second.rows(
        "select pgmq.format_table_name(n, 'q') from unnest('{One,one}'::text[]) n"
    )
    assert len(set(relations)) == 2
