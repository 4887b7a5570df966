"""Conditions and skips: plain, cascading, failing, and in which wave."""

from __future__ import annotations

import pytest

from .definition import Json, Policy, StepDef
from .model import ModelRun
from .outcome import Failed
from .play import flow, play, said, statuses
from .rows import ABSENT

NEVER: dict[str, Json] = {"never": True}


def test_a_root_pattern_is_held_against_the_input() -> None:
    picky = flow(StepDef("a", required={"lang": "en"}))
    assert ModelRun(picky, {"lang": "en", "more": 1}).run.status == "started"
    run = ModelRun(picky, {"lang": "de"})
    assert (run.run.status, run.run.output, run.run.remaining_steps) == ("completed", ABSENT, 0)
    assert (run.steps["a"].status, run.steps["a"].skip_reason) == ("skipped", "condition_unmet")


def test_a_plain_skip_lets_dependents_run_without_it() -> None:
    run = play(flow(StepDef("a", required=NEVER), StepDef("b", ("a",))), {}, said({"b": 1}))
    assert (statuses(run), run.run.output) == ({"a": "skipped", "b": "completed"}, {"b": 1})


def test_a_skip_cascade_takes_dependents_with_other_live_parents() -> None:
    steps = flow(
        StepDef("live"),
        StepDef("a", required=NEVER, when_unmet="skip-cascade"),
        StepDef("b", ("a", "live")),
        StepDef("c", ("b",)),
    )
    run = ModelRun(steps, {})
    assert [run.steps[s].skip_reason for s in "abc"] == [
        "condition_unmet",
        "dependency_skipped",
        "dependency_skipped",
    ]
    assert [run.steps[s].remaining_deps for s in "abc"] == [0, 2, 1]
    assert run.run.remaining_steps == 1


def test_an_unmet_condition_fails_the_run_and_starts_nothing() -> None:
    failing = flow(
        StepDef("ok"),
        StepDef("skipped", required=NEVER),
        StepDef("a", required=NEVER, when_unmet="fail"),
    )
    run = ModelRun(failing, {})
    assert statuses(run) == {"ok": "created", "skipped": "created", "a": "failed"}
    assert (run.run.status, run.run.error_message) == ("failed", "Condition not met")
    assert (run.run.failed_step, run.run.remaining_steps) == ("a", 3)


def test_the_first_of_two_failing_conditions_is_the_cause() -> None:
    unmet = [StepDef(slug, required=NEVER, when_unmet="fail") for slug in ("z", "a")]
    run = ModelRun(flow(*unmet), {})
    assert (run.run.failed_step, run.steps["a"].status) == ("z", "created")


def test_earlier_waves_stay_when_a_later_one_fails() -> None:
    run = ModelRun(
        flow(
            StepDef("a", required=NEVER),
            StepDef("b", ("a",), required=NEVER, when_unmet="fail"),
            StepDef("ok"),
        ),
        {},
    )
    assert statuses(run) == {"a": "skipped", "b": "failed", "ok": "created"}
    assert run.run.remaining_steps == 2


def test_a_condition_after_an_empty_map_is_evaluated() -> None:
    run = ModelRun(
        flow(StepDef("m", kind="map"), StepDef("b", ("m",), required={"m": [1]})),
        [],
    )
    assert statuses(run) == {"m": "completed", "b": "skipped"}


def test_an_empty_map_with_an_unmet_condition_is_skipped_not_completed() -> None:
    run = ModelRun(flow(StepDef("m", kind="map", required={"x": 1})), [])
    assert (run.steps["m"].status, run.steps["m"].skip_reason) == ("skipped", "condition_unmet")


def test_skips_cascade_however_long_the_chain() -> None:
    steps = [StepDef("s0", required=NEVER)]
    steps += [StepDef(f"s{n}", (f"s{n - 1}",), required={f"s{n - 1}": {}}) for n in range(1, 60)]
    run = ModelRun(flow(*steps), {})
    assert {row.skip_reason for row in run.steps.values()} == {"condition_unmet"}
    assert run.run.status == "completed"


def test_a_forbidden_pattern_can_ask_whether_a_step_was_skipped() -> None:
    cases: list[tuple[Json, str]] = [({"go": 1}, "skipped"), ({}, "completed")]
    for given, expected in cases:
        steps = flow(
            StepDef("a", required={"go": 1}), StepDef("instead", ("a",), forbidden={"a": {}})
        )
        assert statuses(play(steps, given, said({"a": {}})))["instead"] == expected


def test_a_dependent_pattern_may_name_the_flow_input() -> None:
    steps = flow(
        StepDef("a"), StepDef("b", ("a",), required={"flow_input": {"lang": "en"}, "a": {"n": 1}})
    )
    script = said({"a": {"n": 1}})
    assert statuses(play(steps, {"lang": "en"}, script))["b"] == "completed"
    assert statuses(play(steps, {"lang": "de"}, script))["b"] == "skipped"


@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [("skip", "completed", None), ("skip-cascade", "skipped", "dependency_skipped")],
)
def test_an_exhausted_step_is_skipped_as_it_asks(
    policy: Policy, status: str, reason: str | None
) -> None:
    steps = flow(StepDef("a", when_exhausted=policy), StepDef("b", ("a",)))
    run = play(steps, {}, said({"a": Failed("no")}))
    a, b = run.steps["a"], run.steps["b"]
    assert (a.status, a.skip_reason, a.error_message) == ("skipped", "handler_failed", "no")
    assert (b.status, b.skip_reason, b.error_message) == (status, reason, None)
    assert (run.tasks["a", 0].status, run.run.status) == ("failed", "completed")


def test_a_step_skipped_by_a_cascade_still_hears_of_its_other_parents() -> None:
    steps = flow(
        StepDef("live"),
        StepDef("a", required=NEVER, when_unmet="skip-cascade"),
        StepDef("b", ("a", "live")),
    )
    run = play(steps, {})
    assert run.steps["b"].remaining_deps == 1
