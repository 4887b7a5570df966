"""A run that repeats another one: from its beginning, or from one of its steps."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.db.steer import Restarted, audit_of, restart_run
from stepwell.errors import Conflict, NotFound

from .hands import Hands
from .kinds import job, machine, says
from .shapes import chain, flow, single, spread, step

DIAMOND = flow("flow", step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))


def restart(
    hands: Hands, run: UUID, from_step: str | None = None, as_run: UUID | None = None
) -> Restarted:
    return restart_run(run, from_step, as_run).on_sync(hands.conn)[0]


def finish(hands: Hands) -> dict[str, Any]:
    """Complete all that is ready; each step gives its name. Answers what each step was given."""
    given: dict[str, Any] = {}
    while tasks := hands.claim():
        for task in tasks:
            given[task.step_slug] = json.loads(task.input or "null")
            hands.complete([task], task.step_slug)
    return given


def test_a_restart_is_a_new_run_that_knows_its_origin(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    [run] = hands.start("flow", {"n": 1}, keys=["k"])
    hands.drain()
    again = restart(hands, run)
    assert again.created and again.run_id != run and again.queues == ["flow"]
    query = "select input, key, origin_run_id, origin_step from pgflow.runs where run_id = %s"
    assert hands.rows(query, again.run_id) == [({"n": 1}, None, run, None)]
    assert finish(hands).keys() == {"s0", "s1"}
    assert hands.status(run) == hands.status(again.run_id) == "completed"
    [entry] = audit_of(run).on_sync(hands.conn)
    assert (entry.action, entry.detail) == ("restart", {"new_run_id": str(again.run_id)})


def test_a_restart_runs_on_the_version_of_its_origin(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    [run] = hands.start("flow")
    hands.define(chain("flow", 3))
    hands.cancel(run)
    restart(hands, run)
    assert finish(hands).keys() == {"s0", "s1"}


def test_what_is_not_after_the_step_is_taken_over(hands: Hands) -> None:
    hands.define(DIAMOND)
    [run] = hands.start("flow", {"n": 1})
    finish(hands)
    again = restart(hands, run, "b").run_id
    assert hands.steps(again) == {
        "a": "completed",
        "b": "started",
        "c": "completed",
        "d": "created",
    }
    assert finish(hands) == {"b": {"a": "a"}, "d": {"b": "b", "c": "c"}}
    assert hands.value("select output from pgflow.runs where run_id = %s", again) == {"d": "d"}
    assert hands.value("select origin_step from pgflow.runs where run_id = %s", again) == "b"


def test_what_had_not_completed_begins_anew(hands: Hands) -> None:
    hands.define(DIAMOND)
    [run] = hands.start("flow")
    hands.complete(hands.claim(), "a")
    b, c = sorted(hands.claim(), key=lambda task: task.step_slug)
    hands.fail([c], permanent=True)
    again = restart(hands, run, "b").run_id
    assert hands.steps(again) == {"a": "completed", "b": "started", "c": "started", "d": "created"}
    assert hands.complete([b]).stale
    assert finish(hands).keys() == {"b", "c", "d"}
    assert hands.status(again) == "completed"


def test_a_live_run_is_repeated_as_it_is_now_and_goes_on_itself(hands: Hands) -> None:
    hands.define(chain("flow"))
    [run] = hands.start("flow")
    hands.complete(hands.claim(), "s0")
    again = restart(hands, run, "s1").run_id
    assert hands.steps(run) == hands.steps(again)
    hands.drain()
    assert hands.status(run) == hands.status(again) == "completed"


def test_a_map_is_taken_over_with_its_elements(hands: Hands) -> None:
    hands.define(spread("flow"))
    [run] = hands.start("flow")
    hands.complete(hands.claim(), [1, 2, 3])
    hands.complete(hands.claim(), "x")
    again = restart(hands, run, "total").run_id
    [task] = [task for task in hands.claim() if task.run_id == again]
    assert json.loads(task.input or "") == {"each": ["x", "x", "x"]}
    anew = restart(hands, run, "each").run_id
    elements = [task.input for task in hands.claim() if task.run_id == anew]
    assert sorted(map(str, elements)) == ["1", "2", "3"]


def test_a_root_map_begins_anew_beside_the_step(hands: Hands) -> None:
    hands.define(flow("flow", step("each", map=True), step("other", takes_input=False)))
    [run] = hands.start("flow", [1, 2])
    again = restart(hands, run, "other").run_id
    assert len([task for task in hands.claim() if task.run_id == again]) == 3


def test_conditions_are_asked_anew(hands: Hands) -> None:
    picky = step("b", "a", required={"a": {"go": True}})
    hands.define(flow("flow", step("a"), picky, step("c", "b")))
    [run] = hands.start("flow")
    hands.complete(hands.claim(), {"go": False})
    hands.drain()
    assert hands.steps(run)["b"] == "skipped"
    again = restart(hands, run, "a").run_id
    hands.complete(hands.claim(), {"go": True})
    assert hands.steps(again)["b"] == "started"
    other = restart(hands, run, "b").run_id
    assert hands.steps(other)["b"] == "skipped"


def test_what_was_skipped_with_a_step_before_it_stays_skipped(hands: Hands) -> None:
    fragile = step("k", exhausted="skip-cascade", maxAttempts=1)
    hands.define(flow("flow", step("a"), fragile, step("z", "a", "k"), step("y", "a")))
    [run] = hands.start("flow")
    a, k = sorted(hands.claim(), key=lambda task: task.step_slug)
    hands.fail([k])
    hands.complete([a], "a")
    again = restart(hands, run, "a").run_id
    states = {"a": "started", "k": "skipped", "z": "skipped", "y": "created"}
    assert hands.steps(again) == states
    finish(hands)
    assert hands.status(again) == "completed"
    with pytest.raises(Conflict, match=r"'z' of run .* was skipped together with a step before it"):
        restart(hands, run, "z")
    assert hands.steps(restart(hands, run, "k").run_id)["z"] == "created"


def test_a_step_that_does_not_exist_is_refused(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.define(machine("machine", "a"))
    [run] = hands.start("flow")
    [other] = hands.start("machine")
    for each in (run, other):
        with pytest.raises(NotFound, match=f"run {each} has no step 'nope'"):
            restart(hands, each, "nope")
    with pytest.raises(NotFound, match="no run"):
        restart(hands, uuid4())


def test_a_step_whose_dependencies_are_not_there_is_refused(hands: Hands) -> None:
    hands.define(chain("flow"))
    [run] = hands.start("flow")
    hands.complete(hands.claim())
    with pytest.raises(Conflict, match="'s2' waits for step 's1', which has not completed in run"):
        restart(hands, run, "s2")
    assert hands.value("select count(*) from pgflow.runs") == 1


def test_a_restart_under_the_same_id_happens_once(hands: Hands) -> None:
    hands.define(single("flow"))
    [run, other] = hands.start("flow", 1, 2)
    new = uuid4()
    assert restart(hands, run, None, new).created
    assert restart(hands, run, None, new) == Restarted(new, False, ["flow"])
    assert len(audit_of(run).on_sync(hands.conn)) == 1
    with pytest.raises(Conflict, match=f"the run id {other} is taken"):
        restart(hands, run, None, other)
    hands.drain()


def test_a_priority_and_a_fairness_key_are_kept(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    given = 'array[\'{"priority": 7, "fairness": "acme"}\']::jsonb[]'
    query = "select run_id from pgflow.start_runs('flow', array['{}']::jsonb[], options => "
    run = hands.conn.execute((query + given + ")").encode()).fetchall()[0][0]
    hands.drain()
    for step_slug in (None, "s1"):
        new = restart(hands, run, step_slug).run_id
        [task] = [task for task in hands.claim() if task.run_id == new]
        kept = "select priority, fairness_key from pgflow.step_tasks where message_id = %s"
        assert hands.rows(kept, task.message_id) == [(7, "acme")]


def test_a_machine_begins_anew_with_its_first_state(hands: Hands) -> None:
    hands.define(machine("machine", "a", "b"))
    [run] = hands.start("machine", {"n": 1})
    hands.commit([says(t, "next", step="b", state={"n": 2}) for t in hands.claim()])
    hands.cancel(run)
    restart(hands, run)
    [task] = hands.claim()
    assert (task.step_slug, task.input) == ("a", '{"n": 1}')


def test_a_machine_goes_on_from_any_step_with_its_last_state(hands: Hands) -> None:
    hands.define(machine("machine", "a", "b"))
    [run] = hands.start("machine", {"n": 1})
    hands.commit([says(t, "next", step="b", state={"n": 2}) for t in hands.claim()])
    hands.commit([says(t, "done", state={"n": 3}, result="ok") for t in hands.claim()])
    new = restart(hands, run, "b").run_id
    [task] = hands.claim()
    assert (task.step_slug, task.input, task.attempt) == ("b", '{"n": 3}', 1)
    assert hands.value("select input from pgflow.runs where run_id = %s", new) == {"n": 1}
    assert hands.value("select origin_step from pgflow.runs where run_id = %s", new) == "b"


def test_a_job_is_repeated_under_its_limits_in_its_queue(hands: Hands) -> None:
    hands.define(job("job"))
    hands.lanes.append(("far", hands.lanes[0][1]))
    run = hands.value(
        "select run_id from pgflow.start_runs('job', array['{\"n\": 1}']::jsonb[], options =>"
        ' array[\'{"queue": "far", "concurrency": "key/k"}\']::jsonb[])'
    )
    [task] = hands.claim()
    hands.commit([says(task, "failed_permanently", error="boom")])
    new = restart(hands, run)
    assert new.queues == ["far"]
    kept = "select queue, concurrency_key from pgflow.step_tasks where run_id = %s"
    assert hands.rows(kept, new.run_id) == [("far", "key/k")]
    [task] = hands.claim()
    assert task.input == '{"n": 1}'
