"""What could never run is refused where it is written: the message says where and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from stepwell import Context, Flow
from stepwell.errors import DefinitionError

from .refusals import flow_refused as refused
from .refusals import orders, other_step, take_line


@pytest.fixture
def flow() -> Flow:
    return orders()


def misspelt(flow_imput: int) -> int: ...


@pytest.mark.parametrize(
    ("slug", "remedy"),
    [
        ("1st", "do not begin with a digit"),
        ("a-b", "use letters, digits and underscores"),
        ("", "use letters"),
        ("ünï", "use letters"),
        ("a\n", "use letters"),
        ("x" * 129, "use at most 128"),
        ("run", "choose another slug"),
        (7, "a slug is text"),
    ],
)
def test_a_bad_slug(flow: Flow, slug: Any, remedy: str) -> None:
    with refused(remedy, flow=slug):
        Flow(slug)
    with refused(f"step {slug!r}", remedy):
        flow.step(slug=slug)(lambda: 1)


@pytest.mark.parametrize("slug", ["flow_input", "ctx", "run"])
def test_a_reserved_step_slug(flow: Flow, slug: str) -> None:
    with refused(f"step {slug!r}", "reserved; choose another"):
        flow.step(slug=slug)(lambda: 1)


def test_a_lambda_without_a_slug(flow: Flow) -> None:
    with refused("slug=..."):
        flow.step(lambda: 1)


def test_a_duplicate_step(flow: Flow) -> None:
    with refused("step 'reserve'", "already has", "rename"):

        @flow.step
        def reserve() -> None: ...


def test_a_step_that_differs_in_case_only(flow: Flow) -> None:
    with refused("step 'Reserve'", "'reserve'", "rename"):

        @flow.step
        def Reserve() -> None: ...


def test_a_parameter_that_is_no_step(flow: Flow) -> None:
    with refused("step 'charge'", "'reserv'", "did you mean 'reserve'", "define it above"):

        @flow.step
        def charge(reserv: int) -> None: ...


def test_a_parameter_with_a_default_that_is_no_step(flow: Flow) -> None:
    with refused("step 'charge'", "'rate'", "flow_input"):

        @flow.step
        def charge(reserve: int, rate: float = 0.5) -> None: ...


def test_a_step_that_depends_on_itself(flow: Flow) -> None:
    with refused("step 'charge'", "cycle", "rename parameter"):

        @flow.step
        def charge(charge: int) -> None: ...


def test_a_dependency_that_is_named_twice(flow: Flow) -> None:
    reserve = flow.steps["reserve"]
    with refused("'reserve' is a dependency twice", "name it once"):
        flow.step(reserve, reserve)


def test_a_step_of_another_flow(flow: Flow) -> None:
    with refused("'foreign' belongs to flow 'other'", "step.handler"):
        flow.step(other_step())
    with refused("step 'pack'", "'foreign' belongs to flow 'other'", "step.handler"):
        flow.map(over=other_step(), slug="pack")(take_line)


def test_a_dependency_that_is_no_step_at_all(flow: Flow) -> None:
    with refused("not 'reserve'", "@flow.step(reserve)"):
        flow.step("reserve")  # pyright: ignore


def test_a_handler_that_is_a_step(flow: Flow) -> None:
    with refused("step 'again'", "step.handler"):
        flow.step(slug="again")(flow.steps["reserve"])


def test_a_handler_that_cannot_be_called(flow: Flow) -> None:
    with refused("step 'seven'", "decorate a function"):
        flow.step(slug="seven")(7)  # pyright: ignore


def test_a_map_step_with_two_dependencies(flow: Flow) -> None:
    lines, reserve = flow.steps["lines"], flow.steps["reserve"]
    with refused("over=lines"):
        flow.map(lines, reserve)  # pyright: ignore
    with refused("step 'pack'", "one step only"):
        flow.map(over=[lines, reserve], slug="pack")(take_line)  # pyright: ignore
    with refused("step 'pack'", "'reserve' is a step", "rename the parameter"):

        @flow.map(over=lines)
        def pack(line: str, reserve: int) -> None: ...


def test_a_map_step_over_a_step_that_returns_no_list(flow: Flow) -> None:
    with refused("step 'pack'", "'reserve'", "dict[str, int]", "return a list"):

        @flow.map(over="reserve")
        def pack(line: str) -> None: ...


@dataclass
class Parcel:
    weight: int


@pytest.mark.parametrize("returns", [str, bytes, int, None, Parcel, dict, int | str | None])
def test_a_map_step_over_a_type_that_is_never_an_array(flow: Flow, returns: Any) -> None:
    def once() -> Any: ...

    once.__annotations__["return"] = returns
    flow.step(once)
    with refused("step 'pack'", "return a list"):
        flow.map(over="once", slug="pack")(take_line)


def test_a_map_step_over_an_unknown_step(flow: Flow) -> None:
    with refused("step 'pack'", "'linse'", "did you mean 'lines'", "define it above"):

        @flow.map(over="linse")
        def pack(line: str) -> None: ...


def test_a_map_parameter_named_after_what_is_mapped_over(flow: Flow) -> None:
    with refused("step 'pack'", "'lines'", "one element", "rename the parameter"):

        @flow.map(over="lines")
        def pack(lines: str) -> None: ...


def test_a_map_step_with_two_elements(flow: Flow) -> None:
    with refused("step 'pack'", "'line' and 'index'", "keep one"):

        @flow.map(over="lines")
        def pack(line: str, index: int) -> None: ...


def test_two_contexts(flow: Flow) -> None:
    with refused("step 'charge'", "'ctx' and 'context'", "keep one"):

        @flow.step
        def charge(ctx: Context, context: Context) -> None: ...


def test_parameters_that_cannot_be_given_by_name(flow: Flow) -> None:
    with refused("step 'a'", "*reserve", "name each step"):

        @flow.step
        def a(*reserve: int) -> None: ...

    with refused("step 'b'", "**rest", "name each step"):

        @flow.step
        def b(**rest: int) -> None: ...

    with refused("step 'c'", "positional-only", "remove the '/'"):

        @flow.step
        def c(reserve: int, /) -> None: ...


def test_a_generator(flow: Flow) -> None:
    with refused("step 'pages'", "return a list"):

        @flow.step
        def pages() -> Iterator[int]:
            yield 1

    with refused("step 'more'", "return a list"):

        @flow.step
        async def more():  # pyright: ignore
            yield 1


def test_an_annotation_that_no_json_fits(flow: Flow) -> None:
    with refused("step 'charge'", "'reserve'", "change its annotation"):

        @flow.step
        def charge(reserve: dict[str, int] | Parcel) -> None: ...


def test_two_steps_that_disagree_about_the_input(flow: Flow) -> None:
    with refused("step 'charge'", "int", "dict[str, int]", "give it one type"):

        @flow.step
        def charge(flow_input: int) -> None: ...


def test_an_input_that_differs_from_the_type_of_the_flow() -> None:
    flow = Flow[Parcel, None]("orders")
    with refused("step 'charge'", "Parcel", "give it one type"):

        @flow.step
        def charge(flow_input: int) -> None: ...


def test_a_root_map_over_an_input_that_is_no_list(flow: Flow) -> None:
    with refused("step 'pack'", "make the input a list"):
        flow.map(slug="pack")(take_line)

    fresh = Flow("orders")
    fresh.map(slug="pack")(take_line)
    with refused("step 'charge'", "'pack'", "make the input a list"):

        @fresh.step
        def charge(flow_input: int) -> None: ...


def test_a_refused_step_leaves_the_flow_as_it_was(flow: Flow) -> None:
    before = dict(flow.steps)
    with pytest.raises(DefinitionError):
        flow.step(slug="charge")(misspelt)
    assert dict(flow.steps) == before
