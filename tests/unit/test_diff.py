"""Two shapes that differ say what became of the steps; equal structures say nothing."""

from __future__ import annotations

from itertools import product
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
    now = shape(step("a", takesInput=True), step("b", "a", options={"timeout": 5}))
    before = shape(step("a", takesInput=False), step("b", "a"), options={"maxAttempts": 9})
    assert differences(now, before) == []


def test_steps_that_came_and_went_are_named() -> None:
    before = shape(step("reserve"), step("charge", "reserve"), step("mail", "charge"))
    pay, mail = step("pay", "reserve"), step("mail", "pay")
    now = shape(step("reserve"), pay, mail, step("ask", stepType="signal", signalName="ok"))
    assert differences(now, before) == [
        "step 'charge' is gone",
        "step 'pay' is new, depends on 'reserve'",
        "step 'mail' depends on 'pay' now, not on 'charge'",
        "step 'ask' is new: a wait for a signal",
    ]


@pytest.mark.parametrize(
    ("now", "before", "sentence"),
    [
        (step("c", stepType="map"), step("c"), " is a map now, not a plain step"),
        (step("c", stepType="sleep"), step("c", stepType="map"), " is a sleep now, not a map"),
        (step("c", "b", "a"), step("c", "a"), " depends on 'a', 'b' now, not on 'a'"),
        (step("c", "a"), step("c"), " depends on 'a' now, not on nothing"),
        (step("c"), step("c", "a"), " depends on nothing now, not on 'a'"),
        (step("c", whenUnmet="fail"), step("c"), ': if_unmet "skip" -> "fail"'),
        (step("c", whenExhausted="skip"), step("c"), ': if_exhausted "fail" -> "skip"'),
        (
            step("c", stepType="signal", signalName="paid"),
            step("c", stepType="signal", signalName="sent"),
            ': signal "sent" -> "paid"',
        ),
        (
            step("c", requiredInputPattern=defined({"long": [1, {"b": None}], "a": "é"})),
            step("c"),
            ': when none -> {"long": [1, {"b": null}], "a": "é"}',
        ),
        (
            step("c", forbiddenInputPattern=defined({"a": 1})),
            step("c", forbiddenInputPattern=defined({"a": True})),
            ': unless {"a": true} -> {"a": 1}',
        ),
    ],
)
def test_a_changed_step_is_described(now: Any, before: Any, sentence: str) -> None:
    others = (step("a"), step("b"))
    ours, theirs = shape(*others, now), shape(*others, before)
    assert differences(ours, theirs) == [f"step 'c'{sentence}"]
    assert ours.digest != theirs.digest


def test_one_number_written_in_two_ways_is_no_difference() -> None:
    now = shape(step("a", requiredInputPattern=defined({"n": 1})))
    before = shape(step("a", requiredInputPattern=defined({"n": 1.0})))
    assert differences(now, before) == []
    assert now.digest == before.digest


def test_steps_in_another_order_are_another_structure() -> None:
    before = shape(step("a"), step("b"), step("c"))
    assert differences(shape(step("c"), step("a"), step("b")), before) == [
        "the order of the steps is 'c', 'a', 'b' now"
    ]
    assert differences(shape(step("new"), step("a"), step("c")), before) == [
        "step 'b' is gone",
        "step 'new' is new",
    ]


def test_several_differences_are_told_in_the_order_of_the_steps() -> None:
    now = shape(step("a", stepType="map"), step("b", whenUnmet="skip"))
    before = shape(step("a"), step("b", "a", whenUnmet="fail"))
    assert differences(now, before) == [
        "step 'a' is a map now, not a plain step",
        "step 'b' depends on nothing now, not on 'a'",
        'step \'b\': if_unmet "fail" -> "skip"',
    ]


def test_something_is_said_just_where_the_structures_differ() -> None:
    a, b = step("a"), step("b")
    shapes = [
        shape(*steps)
        for steps in (
            (), (a,), (b,), (a, b), (b, a), (a, step("b", "a")),
            (a, step("b", stepType="map")), (a, step("b", whenUnmet="fail")),
            (a, step("b", stepType="signal", signalName="x")),
            (a, step("b", stepType="signal", signalName="y")),
            (a, step("b", requiredInputPattern=defined({}))),
            (a, step("b", forbiddenInputPattern=defined({}))),
        )
    ]  # fmt: skip
    for now, before in product(shapes, shapes):
        assert bool(differences(now, before)) == (now.digest != before.digest)
