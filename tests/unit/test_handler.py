"""Handlers for patterns of slugs: what matches, what each parameter gets, what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from stepwell import Context, DefinitionError, Stepwell, handler
from stepwell.define.handler import PatternHandler
from stepwell.define.step import Step


def anything(input: Any, ctx: Context) -> Any: ...


def stored(slug: str, *deps: str, kind: str = "single", **more: Any) -> dict[str, Any]:
    """A step as the database tells it."""
    common = {"whenUnmet": "skip", "whenExhausted": "fail"}
    return {"slug": slug, "stepType": kind, "dependencies": [*deps], **common, **more}


def bound(code: Any, step: dict[str, Any]) -> Step[..., Any]:
    return handler("acct_*", code).flow("acct_1", [step]).steps[step["slug"]]


def sources(code: Any, step: dict[str, Any]) -> dict[str, str]:
    return {p.name: p.source for p in bound(code, step).parameters}


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("acct_*_sync", ["acct_1_sync", "acct__sync"], ["acct_1", "xacct_1_sync", "acct_1_syncs"]),
        ("acct_?", ["acct_1"], ["acct_", "acct_12"]),
        ("acct_[0-9]", ["acct_7"], ["acct_x"]),
        ("acct_[!0-9]", ["acct_x"], ["acct_7"]),
        ("*", ["anything"], []),
        ("orders", ["orders"], ["Orders", "orders_2"]),
    ],
)
def test_which_slugs_a_pattern_means(pattern: str, yes: list[str], no: list[str]) -> None:
    made = handler(pattern, anything)
    assert [slug for slug in (*yes, *no) if made.matches(slug)] == yes
    assert all(re.fullmatch(made.expression, slug) for slug in yes)


@pytest.mark.parametrize("pattern", ["", "a b", "a.*", "a(", "[z-a]", "[", "a'", "a%", 7, None])
def test_what_is_no_pattern_is_refused(pattern: Any) -> None:
    with pytest.raises(DefinitionError, match="no pattern of slugs"):
        handler(pattern, anything)


def test_one_parameter_gets_what_pgflow_hands_a_step() -> None:
    assert sources(anything, stored("a")) == {"input": "flow_input", "ctx": "context"}
    assert sources(anything, stored("b", "a")) == {"input": "outputs", "ctx": "context"}
    each = stored("c", "a", kind="map")
    assert sources(anything, each) == {"input": "element", "ctx": "context"}


def test_parameters_are_found_by_name_first() -> None:
    def create(reshape: dict[str, int], flow_input: Any, rest: Any, more: int = 1) -> None: ...

    assert sources(create, stored("create", "reshape", "other")) == {
        "reshape": "dependency",
        "flow_input": "flow_input",
        "rest": "outputs",
    }
    step = bound(create, stored("create", "reshape"))
    assert step.parameters[0].type == dict[str, int]
    assert step.takes_input


def test_the_element_of_a_map_may_be_named_after_the_list() -> None:
    def each(contacts: Any) -> None: ...

    assert sources(each, stored("each", "contacts", kind="map")) == {"contacts": "element"}


def test_a_dependency_with_a_default_may_be_skipped() -> None:
    def create(reshape: int = 7) -> None: ...

    [parameter] = bound(create, stored("create", "reshape")).parameters
    assert (parameter.source, parameter.default) == ("dependency", 7)


def test_a_parameter_that_gets_nothing_is_refused() -> None:
    def create(reshape: int, what: int, why: int) -> None: ...

    with pytest.raises(DefinitionError, match=r"'create' of flow 'acct_1'.*'why' is no step"):
        bound(create, stored("create", "reshape"))


def test_steps_that_only_wait_need_no_code() -> None:
    steps = [
        stored("go", kind="signal", signalName="approved"),
        stored("cooled", kind="sleep"),
        stored("end", "go", "cooled"),
    ]
    flow = handler("acct_*", {"end": anything}).flow("acct_1", steps)
    assert {slug: step.kind for slug, step in flow.steps.items()} == {
        "go": "signal",
        "cooled": "sleep",
        "end": "single",
    }
    assert flow.steps["go"].signal == "approved"


def test_a_mapping_has_a_function_for_each_step() -> None:
    made = handler("acct_*", {"a": anything, "b": anything})
    made.flow("acct_1", [stored("a")])  # it may have more than it needs
    with pytest.raises(DefinitionError, match=r"a step 'c', and there is no function for it"):
        made.flow("acct_1", [stored("a"), stored("c", "a")])


def generator(input: Any) -> Iterator[int]:
    yield 1


def variadic(*inputs: Any) -> None: ...


def positional(input: Any, /) -> None: ...


def unreadable(input: re.Pattern[str]) -> None: ...


def twice(ctx: Context, other: Context) -> None: ...


@pytest.mark.parametrize(
    "code", [generator, variadic, positional, unreadable, twice, 7, str, {"a": 7}, ["a"]]
)
def test_what_can_never_be_called_is_refused_at_once(code: Any) -> None:
    with pytest.raises(DefinitionError, match=r"handler for 'acct_\*'"):
        handler("acct_*", code)


def test_it_can_be_written_as_a_decorator() -> None:
    @handler("acct_*")
    async def call_tool(input: Any, ctx: Context) -> Any: ...

    assert isinstance(call_tool, PatternHandler)
    assert repr(call_tool) == "<handler for acct_*>"
    assert call_tool.flow("acct_1", [stored("a")]).steps["a"].is_async


def test_an_app_lists_handlers() -> None:
    one = handler("acct_*", anything)
    app = Stepwell(handlers=[one, one])
    assert app.handlers == (one,)

    @app.handler("team_*")
    def call_tool(input: Any) -> str:
        return "called"

    app.handler("shop_*", {"a": anything})
    assert [each.pattern for each in app.handlers] == ["acct_*", "team_*", "shop_*"]
    assert call_tool(1) == "called"
    assert "acct_*, team_*, shop_*" in repr(app)


def test_an_app_has_one_handler_for_a_pattern() -> None:
    app = Stepwell(handlers=[handler("acct_*", anything)])
    with pytest.raises(DefinitionError, match=r"two handlers for 'acct_\*'"):
        app.handler("acct_*", anything)
    wrong: Any = anything
    with pytest.raises(DefinitionError, match="is no handler"):
        Stepwell(handlers=[wrong])


# --- how its steps run ---


def test_all_steps_or_some_run_in_transactions_or_in_processes() -> None:
    code = {"a": anything, "b": anything, "c": anything}
    some = handler("acct_*", code, transactional=["a"], process=("b", "c"))
    all_of_them = handler("acct_*", anything, transactional=True)
    named = handler("acct_*", anything, process={"b"})
    structure = [stored("a"), stored("b", "a"), stored("c", "a"), stored("d", kind="sleep")]

    def said(made: PatternHandler, name: str) -> list[str]:
        return [s.slug for s in made.flow("acct_1", structure).steps.values() if getattr(s, name)]

    assert (said(some, "transactional"), said(some, "process")) == (["a"], ["b", "c"])
    assert said(all_of_them, "transactional") == ["a", "b", "c"]  # one that sleeps runs nothing
    assert (said(named, "transactional"), said(named, "process")) == ([], ["b"])


def test_it_can_be_said_to_an_app() -> None:
    app = Stepwell()

    @app.handler("acct_*", process=True)
    def call(input: Any) -> Any: ...

    app.handler("team_*", {"a": anything}, transactional=True)
    assert [(each.process, each.transactional) for each in app.handlers] == [
        (True, False),
        (False, True),
    ]
    assert call(1) is None


def no_context(input: Any) -> Any: ...


@pytest.mark.parametrize(
    ("code", "choices", "says"),
    [
        (anything, {"transactional": "yes"}, "transactional is 'yes'; .*or list the steps"),
        (anything, {"process": 1}, "process is 1; it must be True or False, or list the steps"),
        (anything, {"process": ["a b"]}, "process: 'a b' is no slug"),
        ({"pay": anything}, {"process": ["pya"]}, "process has 'pya'.*did you mean 'pay'"),
        (no_context, {"transactional": True}, "takes no context.*add a parameter ctx"),
        (no_context, {"transactional": ["a"]}, "takes no context"),
        ({"a": no_context, "b": anything}, {"transactional": ["a"]}, "step 'a'.*takes no context"),
        (anything, {"transactional": True, "process": True}, "run in a process of its own"),
        (anything, {"transactional": ["a"], "process": ["a", "b"]}, "run in a process of its own"),
        (anything, {"transactional": True, "process": ["b"]}, "run in a process of its own"),
        (anything, {"proces": True}, "no option 'proces'.*did you mean 'process'"),
    ],
)
def test_what_no_step_could_say_is_refused(code: Any, choices: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=rf"handler for 'acct_\*'.*{says}"):
        handler("acct_*", code, **choices)
