"""A flow is decorated functions: what they promise, and what is mapped over."""

from __future__ import annotations

import doctest
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Annotated, Any, NewType

import pytest

import stepwell.define.app
import stepwell.define.flow
import stepwell.define.job
import stepwell.define.limits
import stepwell.define.machine
from stepwell import Context, Flow, Stepwell, key_by
from stepwell.define.calls import Called, called
from stepwell.define.registry import Registry
from stepwell.errors import DefinitionError, NotFound, PayloadError

from .articles import Article, Page, Receipt, article_flow, sources


def test_the_flow_of_the_design_works_as_written() -> None:
    flow = article_flow()
    assert list(flow.steps) == ["scrape", "summarize", "chunks", "embed", "publish"]
    assert flow.leaves == ("publish",)
    assert flow.input_type is Article
    assert sources(flow.steps["publish"]) == {
        "summarize": "summarize",
        "embed": "embed",
        "flow_input": "flow_input",
    }
    assert sources(flow.steps["embed"]) == {"chunk": "element", "ctx": "context"}
    assert flow.steps["embed"].dependencies == ("chunks",)
    assert [step.is_async for step in flow.steps.values()] == [True] * 4 + [False]


def test_a_condition_that_names_an_earlier_step_waits_for_it() -> None:
    publish = article_flow().steps["publish"]
    assert publish.dependencies == ("summarize", "embed", "scrape")
    assert publish.when == {"scrape": {"lang": "en"}}


def test_a_step_is_called_like_its_function() -> None:
    flow = Flow("sums")

    @flow.step
    def add(flow_input: int) -> int:
        "Add one."
        return flow_input + 1

    assert add(1) == add(flow_input=1) == 2
    assert (vars(add)["__name__"], add.__doc__, add.slug, add.kind) == (
        "add",
        "Add one.",
        "add",
        "single",
    )
    assert repr(add) == "<Step sums.add>"


async def test_an_async_step_is_awaited_like_its_function() -> None:
    flow = Flow("sums")

    @flow.step
    async def add(flow_input: int) -> int:
        return flow_input + 1

    assert await add(1) == 2


@pytest.mark.parametrize(
    "returns",
    [
        list[str],
        list,
        tuple[int, ...],
        Sequence[str],
        Iterable[str],
        set[int],
        Any,
        object,
        list[str] | None,
        Annotated[list[int], "x"],
        NewType("Ids", list[int]),
        Awaitable[list[int]],
    ],
    ids=str,
)
def test_a_map_step_maps_over_what_can_be_an_array(returns: Any) -> None:
    flow = Flow("orders")

    def lines() -> Any: ...

    lines.__annotations__["return"] = returns
    over = flow.step(lines)

    @flow.map(over=over)
    def pack(line: Any) -> str: ...

    @flow.map(over="pack")
    def send(parcel: str) -> int: ...

    assert (pack.dependencies, send.dependencies) == (("lines",), ("pack",))
    assert pack.output_type == list[str]


def test_a_map_step_without_over_maps_over_the_flow_input() -> None:
    flow = Flow("orders")

    @flow.map
    def pack(line: str, flow_input: list[str]) -> str: ...

    @flow.map()
    def weigh(line: str) -> int: ...

    assert pack.kind == weigh.kind == "map"
    assert pack.dependencies == weigh.dependencies == ()
    assert flow.input_type == list[str]


def test_the_type_parameters_of_a_flow_are_its_types() -> None:
    flow = Flow[Article, Receipt]("orders")
    assert (flow.input_type, flow.output_type) == (Article, Receipt)
    assert (Flow("orders").input_type, Flow("orders").output_type) == (Any, Any)


def test_a_definition_cannot_be_changed_from_outside() -> None:
    flow = article_flow()
    pattern = {"lang": "en"}

    @flow.step(when={"scrape": pattern})
    def guarded(scrape: Page) -> None: ...

    pattern["lang"] = "de"
    assert guarded.when == {"scrape": {"lang": "en"}}
    with pytest.raises(TypeError):
        flow.steps["x"] = guarded  # pyright: ignore[reportIndexIssue]
    with pytest.raises(FrozenInstanceError):
        guarded.slug = "x"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_registry_finds_flows_and_steps_by_slug() -> None:
    flow = article_flow()
    registry = Registry([flow, flow])
    assert registry.flow("analyze_article") is flow
    assert registry.step("analyze_article", "embed") is flow.steps["embed"]
    with pytest.raises(NotFound, match="did you mean 'analyze_article'"):
        registry.flow("analyse_article")
    with pytest.raises(NotFound, match=r"no step 'embedd' here \(did you mean 'embed'"):
        registry.step("analyze_article", "embedd")


def test_two_flows_cannot_share_a_slug() -> None:
    with pytest.raises(DefinitionError, match="two different flows are called 'analyze_article'"):
        Stepwell(flows=[article_flow(), article_flow()])
    with pytest.raises(DefinitionError, match="'orders' is no flow"):
        Registry(["orders"])  # pyright: ignore[reportArgumentType]


def test_an_app_holds_its_flows_and_does_not_change() -> None:
    flow = article_flow()
    app = Stepwell(flows=[flow], name="news")
    assert (app.flows, app.name, app.registry.flow(flow.slug)) == ((flow,), "news", flow)
    with pytest.raises(AttributeError):
        app.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_flow_waits_for_signals_and_for_time() -> None:
    flow = Flow("orders")

    @flow.step
    def reserve(flow_input: dict[str, int]) -> int: ...

    approved = flow.signal("approved", after=reserve, timeout=timedelta(hours=1))
    nap = flow.sleep("cooling_off", timedelta(days=30), after=(reserve, approved))

    @flow.step
    def ship(approved: Article, cooling_off: None, ctx: Context) -> None: ...

    assert [step.kind for step in flow.steps.values()] == ["single", "signal", "sleep", "single"]
    assert (approved.slug, approved.signal, approved.dependencies) == (
        "approved",
        "approved",
        ("reserve",),
    )
    assert approved.options.signal_timeout == 3600
    assert nap.dependencies == ("reserve", "approved")
    assert nap.options.start_delay == 30 * 86400
    assert nap() is None
    assert ship.dependencies == ("approved", "cooling_off")
    assert [p.type for p in ship.parameters][:2] == [Article, type(None)]
    assert flow.signal("any thing", slug="other").signal == "any thing"


def test_the_limits_and_the_retries_of_a_flow() -> None:
    def square(attempt: int) -> int:
        return attempt**2

    flow = Flow("orders", backoff=square, priority=-5, fairness_by="tenant.id", max_running=3)

    @flow.step(backoff="fixed", base_delay=timedelta(minutes=1), concurrency=key_by("order"))
    def reserve(flow_input: dict[str, int]) -> int: ...

    assert (flow.options.backoff, flow.options.priority) == (square, -5)
    assert (flow.options.fairness_by, flow.options.max_running) == (("tenant", "id"), 3)
    assert (reserve.options.backoff, reserve.options.base_delay) == ("fixed", 60)
    assert reserve.options.concurrency == key_by("order")


def test_a_call_of_a_flow_is_checked_where_it_is_written() -> None:
    flow = article_flow()
    assert called(flow.call(Article("x"))) == Called("flow", flow.slug, None, b'{"url":"x"}')
    with pytest.raises(PayloadError, match=r"input of flow 'analyze_article'.*\$\.url"):
        flow.call({"url": 7})
    with pytest.raises(PayloadError, match=r"input of flow 'analyze_article'.*JSON"):
        flow.call(object())


def test_a_call_of_a_flow_that_maps_over_its_input_has_a_list() -> None:
    flow = Flow("orders")

    @flow.map
    def pack(line: int) -> None: ...

    assert flow.call([1]).payload == b"[1]"
    with pytest.raises(PayloadError, match="is not a list"):
        flow.call(1)


def test_the_examples_in_the_docstrings_run() -> None:
    defined = stepwell.define
    for module in (defined.flow, defined.app, defined.machine, defined.job, defined.limits):
        assert doctest.testmod(module).failed == 0
