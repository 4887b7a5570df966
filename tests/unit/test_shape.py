"""A flow compiles to plain data: the same bytes every time, and a digest of its structure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stepwell import Context, Flow
from stepwell.compile.flows import compile_flow
from stepwell.compile.shape import Shape, canonical
from stepwell.errors import DefinitionError


def orders(*, price: int | float = 1, **options: Any) -> Flow:
    flow = Flow("orders", base_delay=5)

    @flow.step
    def reserve(flow_input: dict[str, int]) -> list[str]: ...

    @flow.map(over=reserve, max_attempts=5, jitter=0.5)
    def pack(line: str) -> str: ...

    @flow.step(when={"reserve": {"price": price}}, if_unmet="skip-cascade", **options)
    def thank(pack: list[str], ctx: Context) -> None: ...

    return flow


NONE = {"defined": False}


def test_a_flow_is_this_data() -> None:
    assert json.loads(compile_flow(orders()).to_json()) == {
        "slug": "orders",
        "kind": "flow",
        "version": None,
        "options": {
            "maxAttempts": 3,
            "baseDelay": 5,
            "timeout": 60,
            "maxDelay": None,
            "jitter": 0,
            "maxCrashes": 3,
            "queue": None,
            "backoff": "exponential",
            "maxRunning": None,
            "priority": 0,
            "fairnessBy": None,
            "retention": None,
        },
        "steps": [
            {
                "slug": "reserve",
                "stepType": "single",
                "dependencies": [],
                "whenUnmet": "skip",
                "whenExhausted": "fail",
                "requiredInputPattern": NONE,
                "forbiddenInputPattern": NONE,
                "takesInput": True,
                "options": {},
            },
            {
                "slug": "pack",
                "stepType": "map",
                "dependencies": ["reserve"],
                "whenUnmet": "skip",
                "whenExhausted": "fail",
                "requiredInputPattern": NONE,
                "forbiddenInputPattern": NONE,
                "takesInput": False,
                "options": {"maxAttempts": 5, "jitter": 0.5},
            },
            {
                "slug": "thank",
                "stepType": "single",
                "dependencies": ["pack", "reserve"],
                "whenUnmet": "skip-cascade",
                "whenExhausted": "fail",
                "requiredInputPattern": {"defined": True, "value": {"reserve": {"price": 1}}},
                "forbiddenInputPattern": NONE,
                "takesInput": True,
                "options": {},
            },
        ],
    }


def test_equal_flows_compile_to_equal_bytes() -> None:
    assert compile_flow(orders()).to_json() == compile_flow(orders()).to_json()
    assert compile_flow(orders()) == compile_flow(orders())


def test_the_canonical_text_is_sorted_and_tight() -> None:
    assert canonical({"b": [1.0, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'


def test_the_digest_is_pinned_because_databases_remember_it() -> None:
    assert compile_flow(orders()).digest == (
        "6243e07327a04caffa7cc84befba8c83375ec4b6f0bbae488d24b454708d9edf"
    )


def test_options_are_no_part_of_the_structure() -> None:
    assert compile_flow(orders(max_attempts=9)).digest == compile_flow(orders()).digest
    assert compile_flow(orders(max_attempts=9)).to_json() != compile_flow(orders()).to_json()


@pytest.mark.parametrize(
    "options", [{"if_exhausted": "skip"}, {"unless": {"pack": {}}}, {"price": 2}, {"slug": "bye"}]
)
def test_a_changed_structure_has_another_digest(options: Any) -> None:
    assert compile_flow(orders(**options)).digest != compile_flow(orders()).digest


def test_one_number_written_in_two_ways_is_one_structure() -> None:
    assert compile_flow(orders(price=1.0)).digest == compile_flow(orders(price=1)).digest


def test_a_shape_is_read_back_from_its_data() -> None:
    shape = compile_flow(orders())
    assert Shape.from_data(json.loads(shape.to_json())) == shape
    assert Shape.from_data(shape.to_data()).digest == shape.digest


def test_a_shape_with_little_said_has_the_defaults() -> None:
    shape = Shape.from_data({"slug": "orders", "steps": [{"slug": "a"}]})
    assert shape.options.base_delay == 1
    assert (shape.steps[0].step_type, shape.steps[0].when_unmet) == ("single", "skip")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (7, "object"),
        ({"steps": []}, "slug"),
        ({"slug": "a", "steps": [{"slug": 7}]}, r"\$.steps\[0\].slug"),
        ({"slug": "a", "steps": [{"slug": "b", "stepType": "loop"}]}, "stepType"),
        ({"slug": "a", "options": {"maxAttempts": "3"}}, r"\$.options.maxAttempts"),
        (
            {"slug": "a", "steps": [{"slug": "b", "requiredInputPattern": {"value": "x"}}]},
            r"requiredInputPattern.value",
        ),
    ],
)
def test_data_that_is_no_shape_is_refused_with_its_place(data: object, place: str) -> None:
    with pytest.raises(DefinitionError, match=place):
        Shape.from_data(data)


def test_a_flow_without_steps_does_not_compile() -> None:
    with pytest.raises(DefinitionError, match=r"flow 'orders'.*no steps.*@flow\.step"):
        compile_flow(Flow("orders"))
