"""A flow is decorated functions: where their values come from, and what they promise."""

from __future__ import annotations

import doctest
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import FrozenInstanceError, dataclass
from datetime import timedelta
from functools import partial, wraps
from typing import Annotated, Any, NewType, ParamSpec, TypeVar

import pytest

import stepwell.define.app
import stepwell.define.flow
import stepwell.define.job
import stepwell.define.limits
import stepwell.define.machine
from stepwell import Context, Flow, Step, Stepwell, key_by
from stepwell.define.calls import Called, called
from stepwell.define.registry import Registry
from stepwell.errors import DefinitionError, NotFound, PayloadError


@dataclass
class Article:
    url: str


@dataclass
class Page:
    text: str
    lang: str


@dataclass
class Receipt:
    id: int


Vector = list[float]
P = ParamSpec("P")
R = TypeVar("R")
Anyone = Step[..., Any]


def article_flow() -> Flow:
    article = Flow("analyze_article", max_attempts=3, base_delay=5, timeout=60)

    @article.step
    async def scrape(flow_input: Article) -> Page: ...

    @article.step(max_attempts=5)
    async def summarize(scrape: Page) -> str: ...

    @article.step
    async def chunks(scrape: Page) -> list[str]: ...

    @article.map(over=chunks)
    async def embed(chunk: str, ctx: Context) -> Vector: ...

    @article.step(when={"scrape": {"lang": "en"}}, if_unmet="skip")
    def publish(summarize: str, embed: list[Vector], flow_input: Article) -> Receipt: ...

    return article


def sources(step: Anyone) -> dict[str, str]:
    return {p.name: p.dependency or p.source for p in step.parameters}


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


def test_a_step_that_only_waits_may_be_absent() -> None:
    flow = Flow("orders")
    flow.signal("approved", timeout=5, if_exhausted="skip")

    @flow.step
    def ship(approved: str | None = "nobody") -> None: ...

    [parameter] = ship.parameters
    assert parameter.may_be_absent
    assert parameter.default == "nobody"


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
