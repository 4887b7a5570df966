"""start_flow, start_flow_with_states, get_run_with_states."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row

from .calls import Caller

RUN_COLUMNS = {
    *("run_id", "flow_slug", "status", "input", "output", "remaining_steps"),
    *("started_at", "completed_at", "failed_at"),
}
STATE_COLUMNS = {
    *("flow_slug", "run_id", "step_slug", "status", "remaining_tasks", "initial_tasks"),
    *("remaining_deps", "output", "error_message", "skip_reason", "created_at", "started_at"),
    *("completed_at", "failed_at", "skipped_at"),
}


def start(caller: Caller, *arguments: Any) -> dict[str, Any]:
    places = sql.SQL(", ").join(sql.Placeholder() * len(arguments))
    query = sql.SQL("select * from pgflow.start_flow({})").format(places)
    with caller.conn.cursor(row_factory=dict_row) as cursor:
        [row] = cursor.execute(query, arguments).fetchall()
    return row


def test_a_run_begins_with_a_state_for_each_step(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""), ("c", "a b"), ("m", "c", {"type": "map"}))
    row = start(caller, "flow", '{"n": 1}')
    assert (row["flow_slug"], row["status"], row["input"]) == ("flow", "started", {"n": 1})
    assert (row["remaining_steps"], row["output"], row["completed_at"]) == (4, None, None)
    steps = caller.steps(row["run_id"])
    columns = ("status", "remaining_deps", "initial_tasks", "remaining_tasks")
    assert {slug: tuple(s[c] for c in columns) for slug, s in steps.items()} == {
        "a": ("started", 0, 1, 1),
        "b": ("started", 0, 1, 1),
        "c": ("created", 2, 1, None),
        "m": ("created", 1, None, None),
    }
    tasks = caller.tasks(row["run_id"])
    assert set(tasks) == {("a", 0), ("b", 0)}
    assert {(t["status"], t["attempts_count"], t["requeued_count"]) for t in tasks.values()} == {
        ("queued", 0, 0)
    }
    assert len({task["message_id"] for task in tasks.values()}) == 2


def test_a_root_map_has_a_task_for_each_element(caller: Caller) -> None:
    caller.flow("flow", ("m", "", {"type": "map"}))
    run = start(caller, "flow", "[1, null, [2, 3]]")["run_id"]
    assert set(caller.tasks(run)) == {("m", 0), ("m", 1), ("m", 2)}
    assert caller.steps(run)["m"]["initial_tasks"] == 3


def test_a_flow_without_steps_is_complete_at_once(caller: Caller) -> None:
    caller.flow("flow")
    row = start(caller, "flow", "{}")
    assert (row["status"], row["output"], row["remaining_steps"]) == ("completed", None, 0)
    assert row["completed_at"] is not None


def test_an_empty_root_map_completes_its_run(caller: Caller) -> None:
    caller.flow("flow", ("m", "", {"type": "map"}), ("n", "m", {"type": "map"}))
    row = start(caller, "flow", "[]")
    assert (row["status"], row["output"]) == ("completed", {"n": []})


def test_a_condition_may_fail_a_run_at_its_start(caller: Caller) -> None:
    unmet = {"required": {"a": 1}, "unmet": "fail"}
    caller.flow("flow", ("a", "", unmet), ("b", ""))
    row = start(caller, "flow", "{}")
    assert (row["status"], row["failed_at"] is not None) == ("failed", True)
    a = caller.steps(row["run_id"])["a"]
    assert (a["status"], a["error_message"]) == ("failed", "Condition not met")
    assert a["started_at"] is None
    assert caller.tasks(row["run_id"]) == {}


def test_a_start_delay_holds_the_message_back(caller: Caller) -> None:
    caller.flow("flow", ("a", "", {"start_delay": 60}))
    start(caller, "flow", "{}")
    [row] = caller.rows(
        "select extract(epoch from vt - enqueued_at)::int as s, message from pgmq.q_flow"
    )
    assert row["s"] == 60


def test_the_message_of_a_task_names_it(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    run = start(caller, "flow", "{}")["run_id"]
    assert caller.value("select message from pgmq.q_flow") == {
        "flow_slug": "flow",
        "run_id": str(run),
        "step_slug": "a",
        "task_index": 0,
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, "Flow flow has root map steps but input is NULL"),
        ("{}", r"Flow flow has root map steps but input is not an array \(got object\)"),
        ("null", r"Flow flow has root map steps but input is not an array \(got null\)"),
        ('"x"', r"Flow flow has root map steps but input is not an array \(got string\)"),
    ],
)
def test_a_root_map_wants_an_array(caller: Caller, given: str | None, text: str) -> None:
    caller.flow("flow", ("a", ""), ("m", "", {"type": "map"}))
    with pytest.raises(errors.RaiseException, match=text):
        start(caller, "flow", given)


def test_what_cannot_be_started_breaks_a_constraint(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    with pytest.raises(errors.ForeignKeyViolation, match='constraint "runs_flow_slug_fkey"'):
        start(caller, "nope", "{}")
    with pytest.raises(errors.NotNullViolation, match='null value in column "input"'):
        start(caller, "flow", None)
    row = start(caller, "flow", "{}", uuid4())
    with pytest.raises(errors.UniqueViolation, match='unique constraint "runs_pkey"'):
        start(caller, "flow", "{}", row["run_id"])


def test_a_caller_may_choose_the_run_id(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    chosen = uuid4()
    assert start(caller, "flow", "{}", chosen)["run_id"] == chosen


# --- with states ---


def states(caller: Caller, run_id: UUID) -> Any:
    return caller.value("select pgflow.get_run_with_states(%s)", run_id)


def test_a_run_is_told_with_all_its_columns_and_steps(caller: Caller) -> None:
    caller.flow("flow", ("b", ""), ("a", "b"))
    run = caller.start("flow", {"n": 1})
    caller.take(run, "b")
    caller.complete(run, "b", [0, False])
    told = states(caller, run)
    assert set(told) == {"run", "steps"}
    assert set(told["run"]) >= RUN_COLUMNS
    assert told["run"]["run_id"] == str(run)
    assert told["run"]["input"] == {"n": 1}
    assert [step["step_slug"] for step in told["steps"]] == ["b", "a"]
    assert all(set(step) >= STATE_COLUMNS for step in told["steps"])
    assert [step["output"] for step in told["steps"]] == [[0, False], None]


def test_a_run_without_steps_has_an_empty_list_and_an_unknown_run_is_null(caller: Caller) -> None:
    caller.flow("flow")
    run = caller.start("flow")
    assert states(caller, run)["steps"] == []
    assert states(caller, uuid4()) is None


def test_a_run_is_started_and_told_in_one_call(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    chosen = uuid4()
    told = caller.value(
        "select pgflow.start_flow_with_states('flow', %s, %s)", json.dumps([1]), chosen
    )
    assert told["run"]["run_id"] == str(chosen)
    assert told == states(caller, chosen)
    other = caller.value("select pgflow.start_flow_with_states('flow', '{}')")
    assert other["run"]["run_id"] != str(chosen)
    with pytest.raises(errors.ForeignKeyViolation, match="runs_flow_slug_fkey"):
        caller.value("select pgflow.start_flow_with_states('nope', '{}')")


def test_who_may_not_read_the_tables_may_start_and_watch(caller: Caller) -> None:
    """What `authenticated` is granted in a project of Supabase: usage, and these two."""
    caller.flow("flow", ("a", ""))
    role = f"visitor_{uuid4().hex}"
    name = sql.Identifier(role)
    caller.conn.execute(sql.SQL("create role {}").format(name))
    try:
        caller.conn.execute(sql.SQL("grant usage on schema pgflow to {}").format(name))
        caller.conn.execute(sql.SQL("set role {}").format(name))
        told = caller.value("select pgflow.start_flow_with_states('flow', '{}')")
        assert states(caller, told["run"]["run_id"]) == told
        with pytest.raises(errors.InsufficientPrivilege):
            caller.rows("select * from pgflow.runs")
        with pytest.raises(errors.InsufficientPrivilege):
            caller.value("select pgflow.start_flow('flow', '{}')")
    finally:
        caller.do("reset role")
        caller.conn.execute(sql.SQL("drop owned by {}").format(name))
        caller.conn.execute(sql.SQL("drop role {}").format(name))
