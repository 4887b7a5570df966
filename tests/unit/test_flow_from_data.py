"""Flows out of plain data: what becomes of them, and each reason for which one is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell.compile.from_data import shape_from_data
from stepwell.compile.shape import Shape
from stepwell.errors import DefinitionError, InvalidDefinition

A: dict[str, Any] = {"slug": "a"}


def shape(steps: Any, slug: Any = "acct_1_sync", **options: Any) -> Shape:
    return shape_from_data(slug, steps, options)


def test_data_becomes_a_shape() -> None:
    made = shape(
        [
            {"slug": "reshape"},
            {"slug": "create_contact", "deps": ["reshape"], "max_attempts": 7, "start_delay": 5},
        ],
        max_attempts=4,
        timeout=timedelta(minutes=2),
    )
    assert (made.slug, made.kind) == ("acct_1_sync", "flow")
    assert (made.options.max_attempts, made.options.base_delay, made.options.timeout) == (4, 1, 120)
    assert [step.slug for step in made.steps] == ["reshape", "create_contact"]
    create = made.steps[1]
    assert create.dependencies == ("reshape",)
    assert (create.options.max_attempts, create.options.start_delay) == (7, 5)
    assert all(step.takes_input for step in made.steps)


def test_without_options_a_flow_has_the_defaults() -> None:
    made = shape([A])
    assert (made.options.max_attempts, made.options.base_delay, made.options.timeout) == (3, 1, 60)
    assert made == shape([{"slug": "a", "deps": None, "max_attempts": None}])


def test_steps_may_come_in_any_order() -> None:
    steps = [{"slug": "c", "deps": ["b", "a"]}, {"slug": "b", "deps": ["a"]}, {"slug": "a"}]
    assert [step.slug for step in shape(steps).steps] == ["a", "b", "c"]
    mixed = shape([{"slug": "x"}, *steps, {"slug": "y"}])
    assert [step.slug for step in mixed.steps] == ["x", "a", "b", "c", "y"]


def test_all_kinds_of_steps() -> None:
    made = shape(
        [
            {"slug": "list", "when": {"kind": "full"}, "if_unmet": "skip-cascade"},
            {"slug": "each", "deps": ["list"], "step_type": "map", "if_exhausted": "skip"},
            {"slug": "approved", "deps": ["each"], "step_type": "signal"},
            {"slug": "told", "deps": ["each"], "step_type": "signal", "signal": "other"},
            {"slug": "cooled", "step_type": "sleep", "duration": timedelta(days=1)},
            {"slug": "end", "deps": ["list"], "unless": {"list": {"n": 0}}},
        ]
    )
    steps = {step.slug: step for step in made.steps}
    assert steps["list"].required_input_pattern.value == {"kind": "full"}
    assert steps["list"].when_unmet == "skip-cascade"
    assert (steps["each"].step_type, steps["each"].when_exhausted) == ("map", "skip")
    assert (steps["approved"].signal_name, steps["told"].signal_name) == ("approved", "other")
    assert steps["cooled"].options.start_delay == 86400
    assert steps["end"].forbidden_input_pattern.value == {"list": {"n": 0}}


REFUSED: list[tuple[Any, str, str | None, Any]] = [
    (None, "steps_required", None, None),
    ([], "steps_required", None, None),
    ("a", "steps_must_be_list", None, "a"),
    ({"a": {}}, "steps_must_be_list", None, {"a": {}}),
    (["a"], "invalid_step", None, "a"),
    ([{}], "step_slug_required", None, {}),
    ([{"slug": 7}], "invalid_step_slug", None, 7),
    ([{"slug": "1a"}], "invalid_step_slug", None, "1a"),
    ([{"slug": ""}], "invalid_step_slug", None, ""),
    ([{"slug": "run"}], "invalid_step_slug", None, "run"),
    ([{"slug": "ctx"}], "invalid_step_slug", None, "ctx"),
    ([{"slug": "a", "deps": "b"}], "invalid_step_deps", "a", "b"),
    ([{"slug": "a", "deps": [7]}], "invalid_step_dep", "a", 7),
    ([{"slug": "a", "deps": ["b-c"]}], "invalid_step_dep_slug", "a", "b-c"),
    ([{"slug": "a", "deps": ["b"]}], "unknown_dependency", "a", "b"),
    ([A, {"slug": "b", "deps": ["a", "a"]}], "duplicate_dependency", "b", "a"),
    ([{"slug": "a", "step_type": "array"}], "invalid_step_type", "a", "array"),
    ([A, {"slug": "A"}], "duplicate_step", "A", "A"),
    ([A, dict(A)], "duplicate_step", "a", "a"),
    ([{"slug": "a", "deps": ["a"]}], "circular_dependency", None, ["a"]),
    ([{"slug": "a", "retries": 3}], "unknown_option", "a", "retries"),
    ([{"slug": "a", "max_attempts": 0}], "invalid_option", "a", {"max_attempts": 0}),
    ([{"slug": "a", "timeout": "long"}], "invalid_option", "a", {"timeout": "long"}),
    ([{"slug": "a", "if_unmet": "wait"}], "invalid_option", "a", {"if_unmet": "wait"}),
    ([{"slug": "a", "when": ["x"]}], "invalid_option", "a", {"when": ["x"]}),
    ([{"slug": "a", "step_type": "sleep"}], "invalid_option", "a", {"duration": None}),
]


@pytest.mark.parametrize(("steps", "reason", "step", "value"), REFUSED)
def test_each_refusal_has_its_reason(steps: Any, reason: str, step: str | None, value: Any) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        shape(steps)
    error = caught.value
    assert (error.reason, error.step) == (reason, step)
    assert error.value == value
    assert isinstance(error, DefinitionError)
    assert "acct_1_sync" in str(error)


@pytest.mark.parametrize("slug", ["", "run", "a-b", "1a", "a" * 129, None, 7])
def test_a_flow_needs_a_slug(slug: Any) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        shape([A], slug=slug)
    assert (caught.value.reason, caught.value.value) == ("invalid_slug", slug)


def test_options_of_the_flow_are_checked_too() -> None:
    for options, reason in (
        ({"max_attempts": 0}, "invalid_option"),
        ({"retries": 1}, "unknown_option"),
    ):
        with pytest.raises(InvalidDefinition) as caught:
            shape([A], **options)
        assert (caught.value.reason, caught.value.step) == (reason, None)
        assert caught.value.value == (options if reason == "invalid_option" else "retries")


def test_what_a_circle_is() -> None:
    steps = [A, {"slug": "b", "deps": ["c", "a"]}, {"slug": "c", "deps": ["b"]}]
    with pytest.raises(InvalidDefinition, match="b, c wait for each other") as caught:
        shape(steps)
    assert caught.value.value == ["b", "c"]


def test_two_lists_cannot_be_mapped_over() -> None:
    steps = [A, {"slug": "b"}, {"slug": "c", "deps": ["a", "b"], "step_type": "map"}]
    with pytest.raises(InvalidDefinition, match="a map step can depend on one step only"):
        shape(steps)
