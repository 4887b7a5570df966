"""Maps: their size, empty ones, failures inside them, and what is no array."""

from __future__ import annotations

import pytest

from .definition import Json, StepDef
from .model import ModelRun, Refused
from .outcome import Completed, Failed
from .play import flow, play, said, statuses
from .rows import ABSENT, Value

SPREAD = flow(StepDef("a"), StepDef("m", ("a",), "map"), StepDef("z", ("m",)))


def test_a_root_map_has_a_task_for_each_element_even_null() -> None:
    run = ModelRun(flow(StepDef("m", kind="map")), [1, None, [2, 3]])
    assert run.claimable() == {("m", 0), ("m", 1), ("m", 2)}
    assert (run.steps["m"].initial_tasks, run.steps["m"].remaining_tasks) == (3, 3)


@pytest.mark.parametrize(
    ("given", "named"), [({}, "object"), (None, "null"), ("", "string"), (False, "boolean")]
)
def test_a_root_map_refuses_an_input_that_is_no_array(given: Json, named: str) -> None:
    with pytest.raises(Refused, match=rf"not an array \(got {named}\)"):
        ModelRun(flow(StepDef("a"), StepDef("m", kind="map")), given)


def test_a_dependent_map_learns_its_size_from_the_array() -> None:
    run = ModelRun(SPREAD, {})
    assert run.steps["m"].initial_tasks is None
    run.claim("a", 0)
    run.commit("a", 0, Completed(["x", "y"]))
    assert run.claimable() == {("m", 0), ("m", 1)}


def test_a_map_of_a_map_has_as_many_tasks() -> None:
    chain = flow(StepDef("m", kind="map"), StepDef("n", ("m",), "map"))
    run = play(chain, [1, 2], said({("n", 0): 10, ("n", 1): 11}))
    assert run.run.output == {"n": [10, 11]}


def test_a_map_gathers_in_order_of_its_elements() -> None:
    run = ModelRun(flow(StepDef("m", kind="map")), [0, 0, 0])
    for index in (2, 0, 1):
        run.claim("m", index)
        run.commit("m", index, Completed(ABSENT if index == 1 else index))
    assert run.steps["m"].output == [0, None, 2]


def test_empty_maps_complete_at_once_however_long_the_chain() -> None:
    maps = [StepDef("m0", kind="map")]
    maps += [StepDef(f"m{n}", (f"m{n - 1}",), "map") for n in range(1, 60)]
    run = ModelRun(flow(*maps), [])
    assert (run.run.status, run.run.output) == ("completed", {"m59": []})
    assert run.tasks == {}
    assert {row.initial_tasks for row in run.steps.values()} == {0}


def test_a_single_step_after_an_empty_map_runs() -> None:
    run = play(SPREAD, {}, said({"a": Completed([]), "z": 1}))
    assert (run.run.output, run.steps["m"].output) == ({"z": 1}, [])


@pytest.mark.parametrize(
    ("output", "named"),
    [(ABSENT, "null"), (None, "null"), ({}, "object"), (0, "number"), (True, "boolean")],
)
def test_what_feeds_a_map_must_be_an_array(output: Value, named: str) -> None:
    run = play(SPREAD, {}, said({"a": Completed(output)}))
    task = run.tasks["a", 0]
    message = f"[TYPE_VIOLATION] Map step m expects array input but dependency a produced {named}"
    assert run.run.status == "failed"
    assert (run.run.failed_step, run.steps["a"].error_message) == ("a", message)
    assert (task.status, task.attempts_count, task.output) == ("failed", 1, output)
    assert task.error_message == f"[TYPE_VIOLATION] Produced {named} instead of array"
    assert (run.steps["a"].output, run.run.remaining_steps) == (ABSENT, 3)


def test_a_type_violation_fails_hard_whatever_when_exhausted_says() -> None:
    soft = flow(StepDef("a", when_exhausted="skip"), StepDef("m", ("a",), "map"))
    assert play(soft, {}, said({"a": 1})).run.status == "failed"


def test_a_failed_element_skips_its_whole_map_and_keeps_the_other_tasks() -> None:
    soft = flow(
        StepDef("m", kind="map", when_exhausted="skip", max_attempts=1), StepDef("z", ("m",))
    )
    run = ModelRun(soft, [1, 2, 3])
    run.claim("m", 0)
    run.commit("m", 0, Completed(1))
    run.claim("m", 1)
    run.commit("m", 1, Failed("bad"))
    row = run.steps["m"]
    assert (row.status, row.skip_reason, row.error_message) == ("skipped", "handler_failed", "bad")
    assert (row.remaining_tasks, row.initial_tasks) == (None, 3)
    assert [run.tasks["m", n].status for n in range(3)] == ["completed", "failed", "queued"]
    assert run.claimable() == {("z", 0)}
    assert run.run.remaining_steps == 1


def test_a_map_over_a_skipped_step_is_empty() -> None:
    soft = flow(StepDef("a", when_exhausted="skip"), StepDef("m", ("a",), "map"))
    run = play(soft, {}, said({"a": Failed("no", permanent=True)}))
    assert statuses(run) == {"a": "skipped", "m": "completed"}
    assert (run.run.status, run.run.output) == ("completed", {"m": []})
