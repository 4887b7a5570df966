"""The SQL side of flows made from data: the locks, the versions that a pattern means, the input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from stepwell.compile.from_data import shape_from_data
from stepwell.db.states import get_run, get_run_with_states
from stepwell.db.upsert import Upserted, delete_flow, upsert_flow, versions_like, want_inputs
from stepwell.errors import Conflict

from .conftest import Connect
from .hands import Connection, Hands
from .waiting import held_up, transaction

A: list[dict[str, Any]] = [{"slug": "a"}]
AB: list[dict[str, Any]] = [*A, {"slug": "b", "deps": ["a"]}]


def upsert(
    conn: Connection, slug: str, steps: Sequence[dict[str, Any]], replace: bool = False
) -> Upserted:
    shape = shape_from_data(slug, [*steps], {}).to_json()
    return upsert_flow(shape, replace).on_sync(conn)[0]


def test_two_at_once_take_turns(connect: Connect) -> None:
    first, second = connect(), connect()
    with transaction(first):
        made = upsert(first, "acct_1", A)
        waiting = held_up(lambda: upsert(second, "acct_1", A), second, first)
    assert (made.status, waiting.result(10).status) == ("compiled", "verified")
    assert waiting.result().version_id == made.version_id


def test_who_deletes_and_who_upserts_take_turns(connect: Connect) -> None:
    first, second = connect(), connect()
    upsert(first, "acct_1", A)
    with transaction(first):
        assert delete_flow("acct_1").on_sync(first)[0].exists
        waiting = held_up(lambda: upsert(second, "acct_1", AB), second, first)
    assert waiting.result(10).status == "compiled"


def test_replacing_waits_for_a_start_that_is_under_way(connect: Connect) -> None:
    first, second = connect(), connect()
    upsert(first, "acct_1", A)
    with transaction(first):
        first.execute("select pgflow.start_flow('acct_1', '{}')")
        waiting = held_up(lambda: upsert(second, "acct_1", AB, True), second, first)
    assert waiting.result(10).status == "recompiled"
    assert first.execute("select count(*) from pgflow.runs").fetchone() == (0,)
    assert first.execute("select count(*) from pgflow.step_tasks").fetchone() == (0,)


def test_what_was_current_comes_back(hands: Hands) -> None:
    upsert(hands.conn, "acct_1", A)
    row = upsert(hands.conn, "acct_1", AB)
    assert (row.status, row.version) == ("recompiled", 2)
    assert [step["slug"] for step in row.before or []] == ["a"]
    assert upsert(hands.conn, "acct_1", AB).status == "verified"
    gone = upsert(hands.conn, "acct_1", AB, True)
    assert (gone.status, gone.version) == ("recompiled", 1)


def test_another_kind_is_never_replaced(hands: Hands) -> None:
    hands.conn.execute(
        "select pgflow.ensure_flow(%s)",
        (json.dumps({"slug": "tidy", "kind": "job", "steps": [{"slug": "perform"}]}),),
    )
    with pytest.raises(Conflict):
        upsert(hands.conn, "tidy", A, True)
    with pytest.raises(Conflict):
        upsert(hands.conn, "tidy", A)


def test_the_actor_of_a_deletion_is_the_callers_alone(hands: Hands) -> None:
    hands.conn.execute("set pgflow.actor = 'session'")
    for actor in ("ann", None):
        upsert(hands.conn, "acct_1", A)
        delete_flow("acct_1", actor).on_sync(hands.conn)
        assert hands.value("select current_setting('pgflow.actor')") == "session"
    assert hands.rows("select actor from pgflow.audit order by audit_id") == [
        ("ann",),
        ("session",),
    ]


def test_which_versions_a_pattern_means(hands: Hands) -> None:
    one = upsert(hands.conn, "acct_1_sync", A).version_id
    two = upsert(hands.conn, "acct_1_sync", AB).version_id
    three = upsert(hands.conn, "acct_2_sync", A).version_id
    upsert(hands.conn, "acct_2", A)
    upsert(hands.conn, "Acct_3_sync", A)
    rows = versions_like(["^acct_.*_sync$", "^nobody$"], [one, 999], [1, 1]).on_sync(hands.conn)
    found = {row.version_id: row for row in rows}
    assert found.keys() == {one, two, three}
    assert found[one].structure is None
    assert [step["slug"] for step in found[two].structure or []] == ["a", "b"]
    assert (found[three].flow_slug, found[three].queue) == ("acct_2_sync", "acct_2_sync")
    assert versions_like([], [], []).on_sync(hands.conn) == []
    for steps, is_told in ((1, True), (2, False), (-1, False)):
        rows = versions_like(["^acct_1_sync$"], [one, two], [1, steps]).on_sync(hands.conn)
        told = [row.version_id for row in rows if row.structure is not None]
        assert told == ([two] if is_told else [])


def test_steps_get_the_input_that_their_handlers_want(hands: Hands) -> None:
    hands.conn.execute("select pgflow.create_flow('acct_sql')")
    for step, deps in (("root", []), ("below", ["root"]), ("other", ["root"])):
        hands.conn.execute("select pgflow.add_step('acct_sql', %s, %s)", (step, deps))
    version = hands.value("select version_id from pgflow.flows")
    wanted = [version] * 2 + [999]
    changed = want_inputs(wanted, ["root", "below", "below"]).on_sync(hands.conn)[0].changed
    assert changed == 1  # a root has it in any case
    again = want_inputs(wanted, ["root", "below", "below"]).on_sync(hands.conn)[0].changed
    assert again == 0
    hands.lanes = [("acct_sql", version)]
    hands.start("acct_sql", {"n": 1})
    hands.complete(hands.claim())
    inputs = {task.step_slug: task.flow_input for task in hands.claim()}
    assert inputs == {"below": '{"n": 1}', "other": None}


def test_a_run_as_json(hands: Hands) -> None:
    upsert(hands.conn, "acct_1", AB)
    [run_id] = hands.start("acct_1", {"n": 1})
    [row] = get_run(run_id).on_sync(hands.conn)
    run = json.loads(row.found or "null")["run"]
    assert (run["run_id"], run["input"], run["status"]) == (str(run_id), {"n": 1}, "started")
    [row] = get_run_with_states(run_id).on_sync(hands.conn)
    found = json.loads(row.found or "null")
    assert found["run"] == run
    assert [step["step_slug"] for step in found["steps"]] == ["a", "b"]
    hands.conn.execute("delete from pgflow.step_tasks; delete from pgflow.step_states")
    hands.conn.execute("delete from pgflow.runs")
    assert get_run(run_id).on_sync(hands.conn) == []
    assert get_run_with_states(run_id).on_sync(hands.conn) == []
