"""set_vt_batch and poll_for_tasks."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import errors

from .calls import Caller, Row


def moved(caller: Caller, queue: str, ids: Any, offsets: Any) -> list[Row]:
    return caller.rows(
        "select *, extract(epoch from vt - pgflow.now())::int as seconds"
        " from pgflow.set_vt_batch(%s, %s, %s) order by msg_id",
        queue,
        ids,
        offsets,
    )


def test_messages_of_a_plain_queue_are_hidden_each_for_its_time(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.do("select pgmq.create('plain')")
    ids = [caller.value("select pgmq.send('plain', '{}')") for _ in range(3)]
    rows = moved(caller, "plain", [ids[0], ids[2], 10**9], [10, 20, 30])
    assert [(row["msg_id"], row["seconds"]) for row in rows] == [(ids[0], 10), (ids[2], 20)]
    assert [(row["read_ct"], row["message"], row["headers"]) for row in rows] == [(0, {}, None)] * 2


def test_tasks_of_a_flow_are_hidden_too(caller: Caller) -> None:
    caller.do("set pgflow.now = '2030-01-01'")
    caller.flow("flow", ("m", "", {"type": "map"}))
    run = caller.start("flow", [1, 2])
    ids = [caller.tasks(run)["m", index]["message_id"] for index in (0, 1)]
    rows = moved(caller, "flow", ids, [0, 60])
    assert [row["seconds"] for row in rows] == [0, 60]
    read = "select msg_id from pgmq.read('flow', 0, 10)"
    assert [row["msg_id"] for row in caller.rows(read)] == ids[:1]
    assert moved(caller, "flow", ids, [5, 0])[1]["seconds"] == 0
    assert [row["msg_id"] for row in caller.rows(read)] == ids[1:]


@pytest.mark.parametrize(("ids", "offsets"), [(None, [1]), ([1], None), ([], []), (None, None)])
def test_nothing_asked_is_nothing_answered(caller: Caller, ids: Any, offsets: Any) -> None:
    assert moved(caller, "nonexistent_queue", ids, offsets) == []


def test_each_message_needs_its_time(caller: Caller) -> None:
    text = r"msg_ids length \(2\) must equal vt_offsets length \(1\)"
    with pytest.raises(errors.RaiseException, match=text):
        moved(caller, "plain", [1, 2], [1])


def test_an_unknown_queue_is_a_relation_that_is_not_there(caller: Caller) -> None:
    text = 'relation "pgmq.q_nonexistent_queue" does not exist'
    with pytest.raises(errors.UndefinedTable, match=text):
        moved(caller, "nonexistent_queue", [1], [1])


def test_who_still_polls_the_old_way_is_told(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    caller.start("flow")
    said = caller.notices()
    assert caller.rows("select * from pgflow.poll_for_tasks('flow', 1, 10)") == []
    assert caller.rows("select * from pgflow.poll_for_tasks('flow', 1, 10, 1, 50)") == []
    assert len(said) == 2 and "pgmq.read_with_poll" in said[0]
