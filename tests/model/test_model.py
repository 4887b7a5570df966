"""Chains, diamonds, retries, failures and cancel, computed by hand from pgflow's contract."""

from __future__ import annotations

from .definition import Json, StepDef
from .model import ModelRun
from .outcome import Completed, Failed
from .play import flow, play, said, statuses
from .rows import ABSENT

CHAIN = flow(StepDef("a"), StepDef("b", ("a",)), StepDef("c", ("b",)))
DIAMOND = flow(
    StepDef("a"), StepDef("left", ("a",)), StepDef("right", ("a",)), StepDef("z", ("left", "right"))
)


def test_a_new_run_starts_its_roots_only() -> None:
    run = ModelRun(CHAIN, {"n": 1})
    assert run.claimable() == {("a", 0)}
    assert statuses(run) == {"a": "started", "b": "created", "c": "created"}
    assert [row.remaining_deps for row in run.steps.values()] == [0, 1, 1]
    assert [row.remaining_tasks for row in run.steps.values()] == [1, None, None]
    assert run.run.remaining_steps == 3


def test_a_flow_without_steps_completes_with_no_output() -> None:
    run = ModelRun(flow(), {})
    assert (run.run.status, run.run.output) == ("completed", ABSENT)


def test_a_chain_completes_with_the_output_of_its_leaf() -> None:
    run = play(CHAIN, None, said({"a": 1, "b": 2, "c": 3}))
    assert (run.run.status, run.run.output, run.run.remaining_steps) == ("completed", {"c": 3}, 0)
    assert [row.output for row in run.steps.values()] == [1, 2, 3]
    assert run.tasks["c", 0].attempts_count == 1


def test_a_diamond_waits_for_both_sides() -> None:
    run = ModelRun(DIAMOND, {})
    run.claim("a", 0)
    run.commit("a", 0, Completed("x"))
    assert run.claimable() == {("left", 0), ("right", 0)}
    run.claim("right", 0)
    run.commit("right", 0, Completed("r"))
    assert (run.steps["z"].status, run.steps["z"].remaining_deps) == ("created", 1)
    run.claim("left", 0)
    run.commit("left", 0, Completed("l"))
    assert run.claimable() == {("z", 0)}


def test_the_output_names_completed_leaves_and_null_counts() -> None:
    run = play(flow(StepDef("a"), StepDef("b"), StepDef("c", ("a",))), {}, said({"b": False}))
    assert run.run.output == {"b": False, "c": None}


def test_sql_null_becomes_json_null_in_the_run_output() -> None:
    run = play(flow(StepDef("a")), {}, said({"a": Completed(ABSENT)}))
    assert (run.steps["a"].output, run.run.output) == (ABSENT, {"a": None})


def test_falsy_outputs_keep_their_value() -> None:
    falsy: list[Json] = [0, "", False, None, [], {}]
    for kept in falsy:
        run = play(flow(StepDef("a")), {}, said({"a": kept}))
        assert run.run.output == {"a": kept}


def test_a_failure_is_retried_and_its_message_stays_on_the_completed_task() -> None:
    run = play(flow(StepDef("a")), {}, said({"a": (Failed("no"), Completed(7))}))
    task = run.tasks["a", 0]
    assert (task.status, task.attempts_count, task.error_message) == ("completed", 2, "no")


def test_the_last_failure_fails_the_run_and_leaves_the_other_rows() -> None:
    run = ModelRun(flow(StepDef("a", max_attempts=1), StepDef("b"), StepDef("c", ("a",))), {})
    run.claim("b", 0)
    run.claim("a", 0)
    run.commit("a", 0, Failed("boom"))
    assert (run.run.status, run.run.failed_step, run.run.error_message) == ("failed", "a", "boom")
    assert statuses(run) == {"a": "failed", "b": "started", "c": "created"}
    assert run.tasks["a", 0].status == "failed"
    assert run.tasks["b", 0].status == "started"
    assert (run.run.remaining_steps, run.steps["a"].remaining_tasks) == (3, 1)
    assert not run.commit("b", 0, Completed(1))


def test_a_steps_own_max_attempts_wins_over_the_flows() -> None:
    own = StepDef("a", max_attempts=2)
    run = play(flow(own, max_attempts=1), {}, said({"a": Failed("no")}))
    assert run.tasks["a", 0].attempts_count == 2


def test_a_permanent_failure_is_exhausted_at_once() -> None:
    run = play(flow(StepDef("a")), {}, said({"a": Failed("no", permanent=True)}))
    assert (run.run.status, run.tasks["a", 0].attempts_count) == ("failed", 1)


def test_an_outcome_of_a_cancelled_run_is_dropped() -> None:
    run = ModelRun(CHAIN, {})
    run.claim("a", 0)
    run.cancel("enough")
    assert not run.commit("a", 0, Completed(1))
    assert (run.run.status, run.run.error_message) == ("cancelled", "enough")
    assert run.run.remaining_steps == 3
    assert (run.steps["a"].status, run.tasks["a", 0].status) == ("started", "started")
    assert run.claimable() == set()


def test_cancel_of_a_finished_run_changes_nothing() -> None:
    run = play(CHAIN, {})
    run.cancel("enough")
    assert run.run.status == "completed"


def test_an_outcome_counts_once() -> None:
    run = ModelRun(flow(StepDef("a")), {})
    run.claim("a", 0)
    assert run.commit("a", 0, Completed(1))
    assert not run.commit("a", 0, Completed(2))
    assert run.run.output == {"a": 1}
