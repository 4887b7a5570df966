"""A flow is decorated functions: where their values come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import pytest

from stepwell import Context, Flow
from stepwell.errors import DefinitionError

from .articles import Article, Page, sources

P = ParamSpec("P")
R = TypeVar("R")


def test_references_fill_the_parameters_that_are_named_after_no_step() -> None:
    flow = Flow("orders")

    @flow.step
    def reserve(flow_input: int) -> int: ...

    @flow.step
    def check(flow_input: int) -> str: ...

    @flow.step(reserve, check, reserve_again := flow.step(slug="again")(lambda: 1))
    def charge(check: str, order: int, flow_input: int, ctx: Context) -> str: ...

    assert sources(charge) == {
        "check": "check",
        "order": "reserve",
        "flow_input": "flow_input",
        "ctx": "context",
    }
    assert charge.dependencies == ("check", "reserve", "again")
    assert reserve_again.slug == "again"


def test_a_context_is_found_by_its_annotation() -> None:
    flow = Flow("orders")

    @flow.step
    def first(context: Context, flow_input: int) -> None: ...

    @flow.step
    def second(context: Annotated[Context | None, "mine"]) -> None: ...

    assert sources(first)["context"] == sources(second)["context"] == "context"


def test_a_parameter_without_annotation_has_the_type_that_its_step_returns() -> None:
    flow = Flow("orders")

    @flow.step
    def pages() -> list[Page]: ...

    @flow.map(over=pages)
    def read(page):  # pyright: ignore
        ...

    @flow.step
    def join(pages, read):  # pyright: ignore
        ...

    assert read.parameters[0].type is Page  # pyright: ignore
    assert [p.type for p in join.parameters] == [list[Page], list[Any]]  # pyright: ignore


def test_annotations_that_cannot_be_resolved_are_any() -> None:
    flow = Flow("orders")

    @flow.step
    def reserve(flow_input: NotHere) -> AlsoNotHere: ...  # pyright: ignore # noqa: F821

    assert (reserve.parameters[0].type, reserve.returns, flow.input_type) == (Any, Any, Any)  # pyright: ignore


def test_a_class_may_be_completed_below_the_step_that_takes_it() -> None:
    flow = Flow("orders")

    @dataclass
    class Parcel:
        label: "Label"  # pyright: ignore # noqa: F821, UP037

    @flow.step
    def pack(flow_input: Parcel) -> None: ...

    assert pack.parameters[0].type is Parcel


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({}, False),
        ({"when": {"a": 1}}, True),
        ({"unless": {"a": 1}}, True),
        ({"when": {"a": 1}, "if_unmet": "skip-cascade"}, False),
        ({"when": {"a": 1}, "if_unmet": "fail"}, False),
        ({"if_exhausted": "skip"}, True),
        ({"if_exhausted": "skip-cascade"}, False),
    ],
)
def test_a_step_that_may_be_skipped_may_be_absent(options: Any, absent: bool) -> None:
    flow = Flow("orders")

    @flow.step(**options)
    def reserve(flow_input: dict[str, int]) -> int: ...

    @flow.step
    def charge(reserve: int = 7) -> None: ...

    @flow.step
    def ship(reserve: int | None) -> None: ...

    assert charge.parameters[0].may_be_absent is absent
    assert charge.parameters[0].default == 7
    assert ship.parameters[0].default is None


def test_partials_and_wrapped_functions_are_handlers() -> None:
    flow = Flow("orders")

    def charge(flow_input: Article, rate: float) -> int: ...

    def price(rate: float, flow_input: Article) -> int: ...

    def logged(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(*args, **kwargs)

        return call

    @flow.step
    @logged
    async def check(flow_input: Article) -> list[int]: ...

    class Sender:
        async def __call__(self, check: list[int]) -> str: ...

    send = flow.step(slug="send")(Sender())
    with pytest.raises(DefinitionError, match="'rate'"):
        flow.step(slug="charge")(partial(charge, rate=0.5))
    bound = flow.step(slug="charge")(partial(price, 0.5))
    assert sources(check) == sources(bound) == {"flow_input": "flow_input"}
    assert check.returns == list[int]
    assert (send.is_async, check.is_async, send.returns) == (True, False, str)


def test_a_step_that_only_waits_may_be_absent() -> None:
    flow = Flow("orders")
    flow.signal("approved", timeout=5, if_exhausted="skip")

    @flow.step
    def ship(approved: str | None = "nobody") -> None: ...

    [parameter] = ship.parameters
    assert parameter.may_be_absent
    assert parameter.default == "nobody"
