"""The passes over one run that pgflow's own functions are made of, called by name."""

from __future__ import annotations

import json
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from tests.db import realtime

from .calls import Caller

CREATE: LiteralString = """
with run as (
  insert into pgflow.runs (flow_slug, version_id, input, remaining_steps)
  select f.flow_slug, f.version_id, %s,
    (select count(*) from pgflow.steps s where s.version_id = f.version_id)
  from pgflow.flows f where f.flow_slug = %s returning *
), states as (
  insert into pgflow.step_states (flow_slug, run_id, step_slug, remaining_deps, initial_tasks)
  select s.flow_slug, r.run_id, s.step_slug, s.deps_count,
    case when s.step_type = 'single' then 1
      when s.deps_count = 0 then jsonb_array_length(r.input) end
  from run r join pgflow.steps s on s.version_id = r.version_id
)
select run_id from run
"""


def created(caller: Caller, slug: str, given: Any = None) -> UUID:
    """A run as start_flow leaves it before its passes."""
    return caller.value(CREATE, json.dumps(given), slug)


def resolve(caller: Caller, run: UUID) -> bool:
    return caller.value("select pgflow.cascade_resolve_conditions(%s)", run)


def complete_empty(caller: Caller, run: UUID) -> int:
    return caller.value("select pgflow.cascade_complete_taskless_steps(%s)", run)


def start_ready(caller: Caller, run: UUID) -> None:
    caller.do("select pgflow.start_ready_steps(%s)", run)


def maybe_complete(caller: Caller, run: UUID) -> None:
    caller.do("select pgflow.maybe_complete_run(%s)", run)


def force_skip(caller: Caller, run: UUID, step: str, reason: str = "condition_unmet") -> int:
    return caller.value("select pgflow._cascade_force_skip_steps(%s, %s, %s)", run, step, reason)


FLOWS: dict[str, list[tuple[Any, ...]]] = {
    "singles": [("a", ""), ("b", ""), ("c", "a b")],
    "empty maps": [("m", "", {"type": "map"}), ("n", "m", {"type": "map"}), ("o", "n")],
    "only empty": [("m", "", {"type": "map"}), ("n", "m", {"type": "map"})],
    "a skip": [("a", "", {"required": {"x": 1}}), ("b", "a"), ("c", "a", {"type": "map"})],
    "a cascade": [
        ("a", "", {"required": {"x": 1}, "unmet": "skip-cascade"}),
        ("b", "a"),
        ("c", ""),
    ],
    "a failure": [("a", "", {"required": {"x": 1}, "unmet": "fail"}), ("b", "")],
    "all skipped": [("a", "", {"required": {"x": 1}}), ("b", "a", {"required": {"a": 1}})],
    "no steps": [],
}


@pytest.mark.parametrize("name", FLOWS)
def test_in_pgflow_s_order_they_come_to_what_start_flow_comes_to(bare: Caller, name: str) -> None:
    bare.flow("flow", *FLOWS[name])
    started, run = bare.start("flow", []), created(bare, "flow", [])
    if resolve(bare, run):
        complete_empty(bare, run)
        start_ready(bare, run)
        maybe_complete(bare, run)
    columns = ("status", "remaining_deps", "initial_tasks", "remaining_tasks", "output")
    columns += ("skip_reason", "error_message")
    for each in (run, started):
        assert bare.run(each) == bare.run(started)
        told = {s: [row[c] for c in columns] for s, row in bare.steps(each).items()}
        assert told == {s: [row[c] for c in columns] for s, row in bare.steps(started).items()}
        assert set(bare.tasks(each)) == set(bare.tasks(started))


@pytest.mark.parametrize("name", FLOWS)
def test_they_tell_what_start_flow_tells(bare: Caller, name: str) -> None:
    """But that the run has started."""
    realtime.install(bare.conn)
    bare.flow("flow", *FLOWS[name])
    started, run = bare.start("flow", []), created(bare, "flow", [])
    if resolve(bare, run):
        complete_empty(bare, run)
        start_ready(bare, run)
        maybe_complete(bare, run)
    assert ["run:started", *events(bare, run)] == events(bare, started)


def test_a_forced_skip_is_told_from_the_top_down(bare: Caller) -> None:
    realtime.install(bare.conn)
    bare.flow("flow", ("zz", ""), ("mm", "zz"), ("aa", "mm"), ("bb", "aa"))
    run = created(bare, "flow")
    force_skip(bare, run, "zz")
    assert events(bare, run) == [f"step:{slug}:skipped" for slug in ("zz", "mm", "aa", "bb")]


def events(caller: Caller, run: UUID) -> list[str]:
    query: LiteralString = (
        "select event from realtime.sent where topic = 'pgflow:run:' || %s order by place"
    )
    return [row["event"] for row in caller.rows(query, run)]


# --- start_ready_steps ---


def test_ready_steps_get_their_tasks_and_empty_ones_are_left_alone(bare: Caller) -> None:
    unmet = {"required": {"x": 1}}
    bare.flow(
        "flow",
        ("b", "", {"start_delay": 60}),
        ("a", "", unmet),
        ("m", "", {"type": "map"}),
        ("after", "a"),
    )
    run = created(bare, "flow", [])
    start_ready(bare, run)
    assert bare.statuses(run) == {  # it asks no conditions
        "a": "started",
        "b": "started",
        "m": "created",
        "after": "created",
    }
    state = bare.steps(run)["a"]
    assert (state["remaining_tasks"], state["started_at"] is not None) == (1, True)
    assert set(bare.tasks(run)) == {("a", 0), ("b", 0)}
    delay = (
        "select extract(epoch from vt - enqueued_at)::int from pgmq.q_flow where vt > enqueued_at"
    )
    assert bare.value(delay) == 60
    start_ready(bare, run)
    assert len(bare.tasks(run)) == 2


def test_steps_of_an_ended_run_are_not_started(bare: Caller) -> None:
    bare.flow("flow", ("a", ""))
    run = created(bare, "flow")
    bare.do("update pgflow.runs set status = 'failed', failed_at = now()")
    start_ready(bare, run)
    start_ready(bare, uuid4())
    assert bare.statuses(run) == {"a": "created"}


# --- cascade_complete_taskless_steps ---


def test_empty_steps_are_complete_and_so_is_what_they_make_empty(bare: Caller) -> None:
    bare.flow(
        "flow",
        ("m", "", {"type": "map"}),
        ("n", "m", {"type": "map"}),
        ("single", "n"),
        ("full", "single", {"type": "map"}),
    )
    run = created(bare, "flow", [])
    assert complete_empty(bare, run) == 2
    steps = bare.steps(run)
    for slug in ("m", "n"):
        row = steps[slug]
        assert (row["status"], row["output"], row["remaining_tasks"]) == ("completed", [], 0)
        assert row["started_at"] == row["completed_at"]
    assert (steps["single"]["status"], steps["single"]["remaining_deps"]) == ("created", 0)
    assert steps["full"]["initial_tasks"] is None
    assert bare.run(run)["remaining_steps"] == 2
    assert complete_empty(bare, run) == 0
    assert bare.tasks(run) == {}


def test_it_completes_steps_and_not_their_run(bare: Caller) -> None:
    bare.flow("flow", ("m", "", {"type": "map"}))
    run = created(bare, "flow", [])
    complete_empty(bare, run)
    assert (bare.run(run)["status"], bare.run(run)["remaining_steps"]) == ("started", 0)


def test_a_single_step_without_tasks_has_no_output(bare: Caller) -> None:
    bare.flow("flow", ("a", ""))
    run = created(bare, "flow")
    bare.do("update pgflow.step_states set initial_tasks = 0")
    assert complete_empty(bare, run) == 1
    assert (bare.statuses(run), bare.steps(run)["a"]["output"]) == ({"a": "completed"}, None)


def test_a_chain_of_empty_maps_has_no_limit(bare: Caller) -> None:
    names = [f"m{n}" for n in range(60)]
    chain = [(name, names[n - 1] if n else "", {"type": "map"}) for n, name in enumerate(names)]
    bare.flow("flow", *chain)
    run = created(bare, "flow", [])
    assert complete_empty(bare, run) == 60


# --- cascade_resolve_conditions ---


def test_unmet_conditions_skip_and_what_is_met_stays(bare: Caller) -> None:
    bare.flow(
        "flow",
        ("met", "", {"required": {"n": 1}}),
        ("unmet", "", {"required": {"n": 2}}),
        ("forbidden", "", {"forbidden": {"n": 1}}),
        ("both", "", {"required": {"n": 1}, "forbidden": {"x": 1}}),
        ("plain", ""),
        ("child", "unmet"),
        ("map", "unmet", {"type": "map"}),
    )
    run = created(bare, "flow", {"n": 1})
    assert resolve(bare, run) is True
    assert bare.statuses(run) == {
        "met": "created",
        "unmet": "skipped",
        "forbidden": "skipped",
        "both": "created",
        "plain": "created",
        "child": "created",
        "map": "created",
    }
    steps = bare.steps(run)
    assert steps["unmet"]["skip_reason"] == "condition_unmet"
    assert (steps["child"]["remaining_deps"], steps["map"]["initial_tasks"]) == (0, 0)
    assert bare.run(run)["remaining_steps"] == 5


def test_a_skip_lets_the_next_condition_be_asked(bare: Caller) -> None:
    names = [f"s{n}" for n in range(60)]
    chain = [
        (name, names[n - 1] if n else "", {"required": {"x": 1}}) for n, name in enumerate(names)
    ]
    bare.flow("flow", *chain)
    run = created(bare, "flow")
    assert resolve(bare, run) is True
    assert set(bare.statuses(run).values()) == {"skipped"}


def test_if_the_dependency_was_skipped(bare: Caller) -> None:
    """A forbidden pattern of an object: run only if the dependency gave none."""
    bare.flow("flow", ("a", "", {"required": {"x": 1}}), ("b", "a", {"forbidden": {"a": {}}}))
    run = created(bare, "flow")
    resolve(bare, run)
    assert bare.statuses(run) == {"a": "skipped", "b": "created"}


def test_a_cascade_takes_all_that_follows(bare: Caller) -> None:
    unmet = {"required": {"x": 1}, "unmet": "skip-cascade"}
    bare.flow("flow", ("a", "", unmet), ("b", ""), ("c", "a b"), ("d", "c"))
    run = created(bare, "flow")
    assert resolve(bare, run) is True
    reasons = {slug: row["skip_reason"] for slug, row in bare.steps(run).items()}
    assert reasons == {
        "a": "condition_unmet",
        "b": None,
        "c": "dependency_skipped",
        "d": "dependency_skipped",
    }
    assert bare.run(run)["remaining_steps"] == 1


def test_the_first_step_that_fails_its_run_fails_it_before_any_skip(bare: Caller) -> None:
    unmet = {"required": {"x": 1}}
    bare.flow(
        "flow",
        ("skipped", "", unmet),
        ("z", "", unmet | {"unmet": "fail"}),
        ("a", "", unmet | {"unmet": "fail"}),
    )
    run = created(bare, "flow")
    assert resolve(bare, run) is False
    assert bare.statuses(run) == {"skipped": "created", "z": "failed", "a": "created"}
    state = bare.steps(run)["z"]
    assert (state["error_message"], state["started_at"]) == ("Condition not met", None)
    assert bare.run(run)["status"] == "failed"


@pytest.mark.parametrize(
    ("status", "answer"), [("completed", True), ("failed", False), ("cancelled", False)]
)
def test_of_an_ended_run_nothing_is_asked(bare: Caller, status: str, answer: bool) -> None:
    bare.flow("flow", ("a", "", {"required": {"x": 1}}))
    run = created(bare, "flow")
    bare.do("update pgflow.runs set status = %s", status)
    assert resolve(bare, run) is answer
    assert bare.statuses(run) == {"a": "created"}


# --- _cascade_force_skip_steps ---


def test_a_step_and_all_below_are_skipped_also_what_runs(bare: Caller) -> None:
    bare.flow("flow", ("a", ""), ("b", ""), ("c", "a b"), ("d", "c"), ("e", ""))
    run = bare.start("flow")
    bare.take(run, "a")
    assert force_skip(bare, run, "a", "handler_failed") == 3
    reasons = {slug: row["skip_reason"] for slug, row in bare.steps(run).items()}
    assert reasons == {
        "a": "handler_failed",
        "b": None,
        "c": "dependency_skipped",
        "d": "dependency_skipped",
        "e": None,
    }
    steps = bare.steps(run)
    assert (steps["a"]["remaining_tasks"], steps["c"]["remaining_deps"]) == (None, 2)
    assert bare.run(run)["remaining_steps"] == 2
    task = bare.tasks(run)["a", 0]
    assert (task["status"], task["stage"]) == ("started", "closed")
    assert force_skip(bare, run, "a") == 0
    assert bare.run(run)["remaining_steps"] == 2
    assert bare.complete(run, "a", 1)[0]["status"] == "started"


def test_what_has_ended_is_left_alone(bare: Caller) -> None:
    bare.flow("flow", ("a", ""), ("b", "a"))
    run = bare.start("flow")
    bare.take(run, "a")
    bare.complete(run, "a", 1)
    assert force_skip(bare, run, "a") == 1
    assert bare.statuses(run) == {"a": "completed", "b": "skipped"}


def test_each_step_of_a_dense_flow_is_visited_once(bare: Caller) -> None:
    """Fourteen fully connected layers have some millions of paths."""
    layers = [[f"s{layer}_{n}" for n in range(3)] for layer in range(14)]
    steps = [
        (slug, " ".join(layers[depth - 1]) if depth else "root")
        for depth, layer in enumerate(layers)
        for slug in layer
    ]
    bare.flow("flow", ("root", ""), *steps)
    run = created(bare, "flow")
    assert force_skip(bare, run, "root") == 43


def test_an_unknown_run_is_an_error(bare: Caller) -> None:
    with pytest.raises(errors.RaiseException, match="Run not found: "):
        force_skip(bare, uuid4(), "a")


# --- maybe_complete_run ---


def test_a_run_with_no_step_left_is_complete_and_says_what_came_out(bare: Caller) -> None:
    bare.flow("flow", ("m", "", {"type": "map"}), ("n", "m", {"type": "map"}))
    run = created(bare, "flow", [])
    maybe_complete(bare, run)
    assert bare.run(run)["status"] == "started"
    complete_empty(bare, run)
    maybe_complete(bare, run)
    told = bare.run(run)
    assert (told["status"], told["output"], told["completed"]) == ("completed", {"n": []}, True)
    maybe_complete(bare, run)
    maybe_complete(bare, uuid4())
    assert bare.run(run) == told


def test_a_key_is_free_when_its_run_is_complete(bare: Caller) -> None:
    bare.flow("flow")
    run = created(bare, "flow")
    bare.do("update pgflow.runs set key = 'k', key_guard = 'k'")
    maybe_complete(bare, run)
    assert bare.value("select key_guard from pgflow.runs where run_id = %s", run) is None


# --- _archive_task_message ---


def test_a_message_is_in_the_archive_once_its_task_has_ended(bare: Caller) -> None:
    bare.flow("flow", ("a", ""))
    run = bare.start("flow")
    said = bare.notices()
    archive: LiteralString = "select pgflow._archive_task_message(%s, 'a', 0)"
    bare.do(archive, run)
    assert len(said) == 1 and "has not ended" in said[0]
    assert bare.value("select count(*) from pgmq.q_flow") == 1
    bare.take(run, "a")
    bare.complete(run, "a")
    bare.do(archive, run)
    bare.do(archive, uuid4())
    assert len(said) == 1
    assert bare.value("select count(*) from pgmq.a_flow") == 1
