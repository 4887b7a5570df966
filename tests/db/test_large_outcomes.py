"""A large outcome is written before it is judged (payload.sql); it ends as a small one does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from stepwell.db.commit import Entry

from .explain import explained
from .hands import Hands, completed, failed
from .kinds import job, machine, says
from .shapes import Shape, chain, single, spread

pytestmark = pytest.mark.timeout(120)

LARGE = "y" * (2**20 + 2**16)


def test_a_large_outcome_of_a_step_is_in_its_task_its_step_and_its_run(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    [run] = hands.start("flow")
    hands.complete(hands.claim(), LARGE)
    [task] = hands.claim()
    assert json.loads(task.input or "") == {"s0": LARGE}
    hands.complete([task], [LARGE])
    assert hands.value("select output from pgflow.runs") == {"s1": [LARGE]}
    found = hands.rows(
        "select t.status, t.stage, t.claim_token, t.output = s.output, t.completed_at is null"
        " from pgflow.step_tasks t join pgflow.step_states s using (run_id, step_slug)"
    )
    assert found == [("completed", "closed", None, True, False)] * 2
    assert hands.status(run) == "completed"


def test_a_large_outcome_of_an_element_is_in_its_list(hands: Hands) -> None:
    hands.define(spread("flow"))
    hands.start("flow")
    hands.complete(hands.claim(), [1, 2])
    for task in hands.claim():
        hands.complete([task], [task.task_index, LARGE])
    [total] = hands.claim()
    assert json.loads(total.input or "") == {"each": [[0, LARGE], [1, LARGE]]}


@pytest.mark.parametrize("shape", [job("job"), machine("machine", "only")], ids=["job", "machine"])
def test_a_large_result_of_a_job_or_a_machine_is_that_of_its_run(
    hands: Hands, shape: Shape
) -> None:
    hands.define(shape)
    run = hands.begin(shape["slug"], {"count": 1})
    [task] = hands.claim()
    hands.commit([completed(task, LARGE) if task.kind == "job" else says_done(task, LARGE)])
    state = {"count": 1} if task.kind == "machine" else None
    found = hands.rows("select status, output, state, remaining_steps from pgflow.runs")
    assert found == [("completed", LARGE, state, 0)]
    assert hands.stage(run) == "closed"


def test_a_large_state_goes_on_with_its_machine(hands: Hands) -> None:
    hands.define(machine("machine", "first", "second"))
    hands.begin("machine")
    [task] = hands.claim()
    move = json.dumps({"step": "second", "state": {"text": LARGE}})
    hands.commit([Entry(task.message_id, task.claim_token, "next", move)])
    [task] = hands.claim()
    assert (task.step_slug, json.loads(task.input or "")) == ("second", {"text": LARGE})
    hands.commit([says_done(task, None)])
    assert hands.rows("select status, output from pgflow.runs") == [("completed", None)]


@pytest.mark.parametrize(
    "shape",
    [single("flow"), job("job"), machine("machine", "only")],
    ids=["flow", "job", "machine"],
)
def test_a_large_outcome_that_comes_too_late_leaves_nothing(hands: Hands, shape: Shape) -> None:
    hands.define(shape)
    hands.begin(shape["slug"])
    [late] = hands.claim()
    hands.release([late])
    [task] = hands.claim()
    entry = completed(late, LARGE) if late.kind != "machine" else says_done(late, LARGE)
    assert hands.commit([entry]).stale
    assert hands.rows("select output from pgflow.runs") == [(None,)]
    assert hands.rows("select status, output from pgflow.step_tasks") == [("started", None)]
    hands.commit([failed(task, permanent=True)])
    assert hands.rows("select status, output from pgflow.runs") == [("failed", None)]
    again = completed(task, LARGE) if task.kind != "machine" else says_done(task, LARGE)
    assert hands.commit([again]).stale
    assert hands.rows("select status, output from pgflow.runs") == [("failed", None)]
    assert hands.rows("select status, output from pgflow.step_tasks") == [("failed", None)]


@pytest.mark.parametrize("word", ["failed", "failed_permanently", "snooze"])
def test_a_large_document_beside_another_word_is_no_output(hands: Hands, word: str) -> None:
    hands.define(single("flow"))
    hands.start("flow")
    [task] = hands.claim()
    document = json.dumps({"delay": 60, "more": LARGE})
    hands.commit([Entry(task.message_id, task.claim_token, word, document, "Error", "no")])
    assert hands.rows("select output from pgflow.step_tasks") == [(None,)]
    stage = hands.value("select stage from pgflow.step_tasks")
    assert stage == ("closed" if word == "failed_permanently" else "delayed")


def test_what_a_map_cannot_take_fails_its_run_also_where_it_is_large(hands: Hands) -> None:
    hands.define(spread("flow"))
    hands.start("flow")
    hands.complete(hands.claim(), LARGE)
    [(status, message)] = hands.rows("select status, error_message from pgflow.runs")
    assert status == "failed"
    assert message.startswith("[TYPE_VIOLATION]")
    kept = hands.rows("select status, output = to_jsonb(%s::text) from pgflow.step_tasks", LARGE)
    assert kept == [("failed", True)]


def test_what_a_machine_or_a_job_cannot_say_is_no_output(hands: Hands) -> None:
    for shape, word in ((job("job", maxAttempts=1), "done"), (machine("machine", "a"), "await")):
        hands.define(shape)
        hands.begin(shape["slug"])
        [task] = hands.claim()
        document = json.dumps({"step": "nowhere", "result": LARGE, "delay": 0})
        hands.commit([Entry(task.message_id, task.claim_token, word, document)])
        assert hands.rows("select output from pgflow.runs where output is not null") == []


@pytest.mark.parametrize("patient", [True, False])
def test_a_run_that_somebody_holds_waits_with_its_large_outcome(
    hands: Hands, connect: Any, patient: bool
) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    [task] = hands.claim()
    other = connect()
    other.execute("begin")
    other.execute("select from pgflow.runs where run_id = %s for update", (run,))
    given = ([task.message_id], [task.claim_token], ["completed"], [json.dumps(LARGE)])
    if patient:
        with pytest.raises(Exception, match="lock timeout"):
            said(hands, given, patient)
    else:
        assert said(hands, given, patient) == ["busy"]
    other.execute("rollback")
    assert hands.rows("select status, output from pgflow.step_tasks") == [("started", None)]
    assert said(hands, given, patient) == []
    assert hands.value("select output from pgflow.runs") == {"s0": LARGE}


@pytest.mark.parametrize("shape", [single("flow"), job("job")], ids=["flow", "job"])
def test_a_large_value_goes_through_no_file_on_its_way(hands: Hands, shape: Shape) -> None:
    hands.define(shape)
    hands.conn.execute("set work_mem = '64kB'")
    through_one = "select count(*) from unnest(%s::text[]) with ordinality"
    assert in_files(hands, lambda: hands.rows(through_one, [LARGE])) > len(LARGE) / 2
    assert in_files(hands, lambda: hands.start(shape["slug"], {"x": LARGE})) < len(LARGE) / 4
    [task] = hands.claim()
    assert in_files(hands, lambda: hands.complete([task], LARGE)) < len(LARGE) / 4


def says_done(task: Any, result: Any) -> Entry:
    return says(task, "done", result=result) if result is not None else says(task, "done")


def said(hands: Hands, given: Sequence[Any], patient: bool) -> list[Any]:
    """The verdicts of one turn that claims nothing."""
    rows = hands.rows(
        "select verdict from pgflow.commit_and_claim(%s, %s::bigint[], %s::bigint[], %s::text[],"
        " %s::jsonb[], array['']::text[], array[''], array[''], '{}', '{}', 0, %s)",
        hands.id,
        *given,
        patient,
    )
    return [verdict for (verdict,) in rows]


def in_files(hands: Hands, call: Any) -> int:
    """Bytes that the call and what it called wrote into temporary files."""
    return explained(hands.conn, call)[-1].plan.get("Temp Written Blocks", 0) * 8192
