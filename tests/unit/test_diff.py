"""Two shapes that differ say where, in pgflow's words; equal structures say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.compile.diff import differences
from stepwell.compile.shape import Shape


def step(slug: str, *dependencies: str, **more: Any) -> dict[str, Any]:
    return {"slug": slug, "dependencies": list(dependencies), **more}


def shape(*steps: dict[str, Any], **more: Any) -> Shape:
    return Shape.from_data({"slug": "orders", "steps": list(steps), **more})


def defined(value: object) -> dict[str, Any]:
    return {"defined": True, "value": value}


def test_equal_structures_have_no_difference() -> None:
    first = shape(step("a", takesInput=True), step("b", "a", options={"timeout": 5}))
    second = shape(step("a", takesInput=False), step("b", "a"), options={"maxAttempts": 9})
    assert differences(first, second) == []


def test_missing_steps_are_counted_and_named() -> None:
    first, second = shape(step("a")), shape(step("a"), step("b", "a"))
    assert differences(first, second) == [
        "Step count differs: 1 vs 2",
        "Step at index 1: missing in first shape (second has 'b')",
    ]
    assert differences(second, first) == [
        "Step count differs: 2 vs 1",
        "Step at index 1: missing in second shape (first has 'b')",
    ]


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (step("c"), step("d"), "slug differs 'c' vs 'd'"),
        (step("c"), step("c", stepType="map"), "type differs 'single' vs 'map'"),
        (step("c", "b", "a"), step("c", "a"), "dependencies differ [a, b] vs [a]"),
        (step("c"), step("c", "a"), "dependencies differ [] vs [a]"),
        (step("c"), step("c", whenUnmet="fail"), "whenUnmet differs 'skip' vs 'fail'"),
        (step("c"), step("c", whenExhausted="skip"), "whenExhausted differs 'fail' vs 'skip'"),
        (
            step("c"),
            step("c", requiredInputPattern=defined({"long": [1, {"b": None}], "a": "é"})),
            "requiredInputPattern differs '{\"defined\": false}' vs "
            '\'{"value": {"a": "é", "long": [1, {"b": null}]}, "defined": true}\'',
        ),
        (
            step("c", forbiddenInputPattern=defined({"a": 1})),
            step("c", forbiddenInputPattern=defined({"a": True})),
            'forbiddenInputPattern differs \'{"value": {"a": 1}, "defined": true}\' vs '
            '\'{"value": {"a": true}, "defined": true}\'',
        ),
    ],
)
def test_a_changed_step_is_described(first: Any, second: Any, sentence: str) -> None:
    before = (step("a"), step("b"))
    ours, theirs = shape(*before, first), shape(*before, second)
    assert differences(ours, theirs) == [f"Step at index 2: {sentence}"]
    assert ours.digest != theirs.digest


def test_one_number_written_in_two_ways_is_no_difference() -> None:
    first = shape(step("a", requiredInputPattern=defined({"n": 1})))
    second = shape(step("a", requiredInputPattern=defined({"n": 1.0})))
    assert differences(first, second) == []
    assert first.digest == second.digest


def test_several_differences_are_told_in_the_order_of_the_steps() -> None:
    first = shape(step("a"), step("b", "a", whenUnmet="fail"))
    second = shape(step("a", stepType="map"), step("b", whenUnmet="skip"))
    assert differences(first, second) == [
        "Step at index 0: type differs 'single' vs 'map'",
        "Step at index 1: dependencies differ [a] vs []",
        "Step at index 1: whenUnmet differs 'fail' vs 'skip'",
    ]
