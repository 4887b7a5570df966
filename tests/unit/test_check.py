"""A shape made from data runs, or the message says which step cannot and what to change."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.compile.check import check_shape
from stepwell.compile.shape import Shape
from stepwell.errors import DefinitionError


def step(slug: str, *dependencies: str, **more: Any) -> dict[str, Any]:
    return {"slug": slug, "dependencies": list(dependencies), **more}


def defined(value: object) -> dict[str, Any]:
    return {"defined": True, "value": value}


def shape(*steps: dict[str, Any], slug: str = "orders", **more: Any) -> Shape:
    return Shape.from_data({"slug": slug, "steps": list(steps), **more})


def test_a_shape_that_runs_is_answered_as_it_is() -> None:
    diamond = shape(
        step("a", requiredInputPattern=defined({"any": "thing"})),
        step("b", "a", stepType="map", requiredInputPattern=defined({"flow_input": {"x": 1}})),
        step("c", "a", forbiddenInputPattern=defined({"a": {}})),
        step("d", "b", "c", requiredInputPattern=defined({})),
    )
    assert check_shape(diamond) is diamond


def refused(given: Shape, *words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_shape(given)
    for word in words:
        assert word in str(caught.value)


def test_a_shape_without_steps() -> None:
    refused(shape(), "flow 'orders'", "declare one")


@pytest.mark.parametrize("slug", ["run", "a-b", "", "x" * 129])
def test_a_bad_slug(slug: str) -> None:
    refused(shape(step("a"), slug=slug), f"flow {slug!r}")
    refused(shape(step(slug)), "flow 'orders'", f"step {slug!r}")


def test_two_steps_of_one_slug() -> None:
    refused(shape(step("a"), step("a")), "step 'a'", "rename one")
    refused(shape(step("a"), step("A")), "step 'A'", "'a'", "rename one")


def test_a_dependency_that_is_no_step() -> None:
    refused(
        shape(step("reserve"), step("charge", "reserv")),
        "step 'charge'",
        "'reserv'",
        "did you mean 'reserve'",
        "declare it",
    )


def test_a_dependency_that_is_named_twice() -> None:
    refused(shape(step("a"), step("b", "a", "a")), "step 'b'", "'a'", "name it once")


def test_a_circle_is_named_as_a_path() -> None:
    refused(shape(step("a", "b"), step("b", "a")), "flow 'orders'", "a -> b -> a", "drop one")
    refused(shape(step("a", "a")), "a -> a", "drop one")


def test_a_step_before_its_dependency() -> None:
    refused(shape(step("b", "a"), step("a")), "step 'b'", "'a', which comes after", "'a' first")


def test_a_map_step_with_two_dependencies() -> None:
    both = shape(step("a"), step("b"), step("c", "a", "b", stepType="map"))
    refused(both, "step 'c'", "depends on a, b", "join their lists")


@pytest.mark.parametrize("name", ["requiredInputPattern", "forbiddenInputPattern"])
def test_a_pattern_on_what_the_step_does_not_depend_on(name: str) -> None:
    pattern = {name: defined({"c": 1})}
    refused(shape(step("a"), step("c"), step("b", "a", **pattern)), "step 'b'", name, "a, flow_inp")


def test_a_pattern_that_contradicts_itself() -> None:
    half = shape(step("a", requiredInputPattern={"defined": True}))
    refused(half, "step 'a'", "requiredInputPattern", "correct one")


@pytest.mark.parametrize(
    ("name", "value"), [("maxAttempts", 0), ("timeout", 0), ("jitter", 2), ("baseDelay", -1)]
)
def test_a_number_out_of_range(name: str, value: Any) -> None:
    refused(shape(step("a"), options={name: value}), "flow 'orders'", "must be")
    refused(shape(step("a", options={name: value})), "step 'a'", "must be")
