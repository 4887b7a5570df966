"""_get_flow_shape, _compare_flow_shapes, _create_flow_from_shape, ensure_flow_compiled."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.errors import Conflict, from_sqlstate

from .calls import Caller, Row, text
from .test_utilities import SECRET

UNDEFINED: Row = {"defined": False}
ROOT: Row = {
    "slug": "a",
    "stepType": "single",
    "dependencies": [],
    "whenUnmet": "skip",
    "whenExhausted": "fail",
    "requiredInputPattern": UNDEFINED,
    "forbiddenInputPattern": UNDEFINED,
}


def shape(*steps: Row, **options: int) -> Row:
    return {"steps": list(steps), "options": options}


def compiled(caller: Caller, slug: str, said: Row, lossy: bool | None = None) -> Row:
    if lossy is None:
        return caller.value("select pgflow.ensure_flow_compiled(%s, %s)", slug, text(said))
    return caller.value("select pgflow.ensure_flow_compiled(%s, %s, %s)", slug, text(said), lossy)


def differences(caller: Caller, local: Row, stored: Row) -> list[str]:
    query = "select pgflow._compare_flow_shapes(%s, %s)"
    return caller.value(query, text(local), text(stored))


def stored(caller: Caller, slug: str) -> Row:
    return caller.value("select pgflow._get_flow_shape(%s)", slug)


def test_a_shape_has_the_steps_in_order_and_no_options(caller: Caller) -> None:
    caller.flow(
        "flow",
        ("z", "", {"max_attempts": 9, "required": {"a": 1}}),
        ("a", "", {"forbidden": {"b": [2]}, "unmet": "fail"}),
        ("m", "z", {"type": "map", "exhausted": "skip-cascade"}),
        ("end", "z m a"),
    )
    steps = stored(caller, "flow")["steps"]
    assert [step["slug"] for step in steps] == ["z", "a", "m", "end"]
    z, a, m, end = steps
    assert z == ROOT | {
        "slug": "z",
        "requiredInputPattern": {"defined": True, "value": {"a": 1}},
    }
    assert a["forbiddenInputPattern"] == {"defined": True, "value": {"b": [2]}}
    assert (a["whenUnmet"], m["stepType"], m["whenExhausted"]) == ("fail", "map", "skip-cascade")
    assert end["dependencies"] == ["a", "m", "z"]


def test_an_unknown_flow_has_the_shape_of_none(caller: Caller) -> None:
    assert stored(caller, "nope") == {"steps": []}


def test_equal_shapes_do_not_differ(caller: Caller) -> None:
    assert differences(caller, shape(ROOT), shape(ROOT)) == []
    assert differences(caller, {"steps": []}, {"steps": []}) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"slug": "b"}, "slug differs 'b' vs 'a'"),
        ({"stepType": "map"}, "type differs 'map' vs 'single'"),
        ({"dependencies": ["y", "x"]}, "dependencies differ [x, y] vs []"),
        ({"whenUnmet": "fail"}, "whenUnmet differs 'fail' vs 'skip'"),
        ({"whenExhausted": "skip"}, "whenExhausted differs 'skip' vs 'fail'"),
        (
            {"requiredInputPattern": {"defined": True, "value": {"a": 1}}},
            """requiredInputPattern differs '{"value": {"a": 1}, "defined": true}'"""
            """ vs '{"defined": false}'""",
        ),
        (
            {"forbiddenInputPattern": {"defined": True, "value": {}}},
            """forbiddenInputPattern differs '{"value": {}, "defined": true}'"""
            """ vs '{"defined": false}'""",
        ),
    ],
)
def test_what_differs_is_said_with_both_sides(caller: Caller, change: Row, difference: str) -> None:
    told = differences(caller, shape(ROOT, ROOT | change), shape(ROOT, ROOT))
    assert told == [f"Step at index 1: {difference}"]


def test_steps_that_one_side_does_not_have_are_named(caller: Caller) -> None:
    two = shape(ROOT, ROOT | {"slug": "b"})
    assert differences(caller, shape(ROOT), two) == [
        "Step count differs: 1 vs 2",
        "Step at index 1: missing in first shape (second has 'b')",
    ]
    assert differences(caller, two, shape(ROOT)) == [
        "Step count differs: 2 vs 1",
        "Step at index 1: missing in second shape (first has 'b')",
    ]


def test_all_that_differs_is_said_step_by_step(caller: Caller) -> None:
    other = ROOT | {"slug": "b", "whenUnmet": "fail"}
    assert differences(caller, shape(other, ROOT), shape(ROOT, other)) == [
        "Step at index 0: slug differs 'b' vs 'a'",
        "Step at index 0: whenUnmet differs 'fail' vs 'skip'",
        "Step at index 1: slug differs 'a' vs 'b'",
        "Step at index 1: whenUnmet differs 'skip' vs 'fail'",
    ]


def test_a_key_that_one_side_does_not_have_is_no_difference(caller: Caller) -> None:
    assert differences(caller, {"steps": [{"slug": "a"}]}, shape(ROOT)) == []
    bound: Row = ROOT | {"requiredInputPattern": {"defined": True, "value": {}}}
    assert differences(caller, {"steps": [{"slug": "a"}]}, shape(bound)) == [
        "Step at index 0: requiredInputPattern differs '' vs '{\"value\": {}, \"defined\": true}'"
    ]


def test_a_flow_is_made_from_its_shape_with_its_options(caller: Caller) -> None:
    step = ROOT | {"options": {"maxAttempts": 7, "baseDelay": 0, "timeout": 8, "startDelay": 9}}
    child: Row = {
        "slug": "b",
        "stepType": "map",
        "dependencies": ["a"],
        "forbiddenInputPattern": {"defined": True, "value": {"a": {}}},
    }
    said = shape(step, child, maxAttempts=1, timeout=3)
    caller.do("select pgflow._create_flow_from_shape('flow', %s)", text(said))
    flow = caller.row("select * from pgflow.flows")
    assert [flow[f"opt_{n}"] for n in ("max_attempts", "base_delay", "timeout")] == [1, 5, 3]
    a, b = caller.rows("select * from pgflow.steps order by step_index")
    options = ("max_attempts", "base_delay", "timeout", "start_delay")
    assert [a[f"opt_{n}"] for n in options] == [7, 0, 8, 9]
    assert [b[f"opt_{n}"] for n in options] == [None] * 4
    assert (b["when_unmet"], b["when_exhausted"]) == ("skip", "fail")
    assert b["forbidden_input_pattern"] == {"a": {}}
    assert stored(caller, "flow")["steps"][1]["dependencies"] == ["a"]


def test_a_flow_is_compiled_and_then_verified(caller: Caller) -> None:
    said = shape(ROOT, maxAttempts=2)
    assert compiled(caller, "flow", said) == {"status": "compiled", "differences": []}
    assert compiled(caller, "flow", said) == {"status": "verified", "differences": []}
    assert compiled(caller, "flow", said, True) == {"status": "verified", "differences": []}
    assert caller.value("select opt_max_attempts from pgflow.flows") == 2


def test_a_shape_without_patterns_is_verified_for_ever(caller: Caller) -> None:
    legacy: Row = {"steps": [{"slug": "a", "stepType": "single", "dependencies": []}]}
    said = [compiled(caller, "flow", legacy)["status"] for _ in range(3)]
    assert said == ["compiled", "verified", "verified"]


def test_a_flow_that_differs_stays_as_it_is(caller: Caller) -> None:
    compiled(caller, "flow", shape(ROOT))
    run = caller.start("flow", 1)
    told = compiled(caller, "flow", shape(ROOT | {"slug": "b"}))
    assert told == {
        "status": "mismatch",
        "differences": ["Step at index 0: slug differs 'b' vs 'a'"],
    }
    assert [s["slug"] for s in stored(caller, "flow")["steps"]] == ["a"]
    assert caller.run(run)["status"] == "started"


@pytest.mark.parametrize("how", ["allowed", "local"])
def test_a_flow_that_differs_is_made_anew_where_data_may_be_lost(caller: Caller, how: str) -> None:
    compiled(caller, "flow", shape(ROOT, maxAttempts=2))
    caller.start("flow", 1)
    if how == "local":
        caller.do("select set_config('app.settings.jwt_secret', %s, false)", SECRET)
    changed = shape(ROOT | {"slug": "b"}, maxAttempts=4)
    told = compiled(caller, "flow", changed, True if how == "allowed" else None)
    assert told == {
        "status": "recompiled",
        "differences": ["Step at index 0: slug differs 'b' vs 'a'"],
    }
    assert caller.rows("select * from pgflow.runs") == []
    assert caller.value("select opt_max_attempts from pgflow.flows") == 4
    assert [s["slug"] for s in stored(caller, "flow")["steps"]] == ["b"]


def test_signals_and_sleeps_are_compiled_too(caller: Caller) -> None:
    wait = ROOT | {"slug": "wait", "stepType": "signal", "signalName": "go"}
    said = shape(ROOT, wait, ROOT | {"slug": "nap", "stepType": "sleep"})
    assert compiled(caller, "flow", said)["status"] == "compiled"
    assert compiled(caller, "flow", said)["status"] == "verified"
    other = shape(ROOT, wait | {"signalName": "stop"}, ROOT | {"slug": "nap", "stepType": "sleep"})
    assert compiled(caller, "flow", other)["differences"] == [
        "Step at index 1: signalName differs 'stop' vs 'go'"
    ]


def test_a_name_of_another_kind_is_refused(caller: Caller) -> None:
    job = {"slug": "mail", "kind": "job", "steps": [{"slug": "perform", "initial": True}]}
    caller.do("select pgflow.ensure_flow(%s)", text(job))
    with pytest.raises(Exception, match="'mail' is a job in this database, not a flow") as raised:
        compiled(caller, "mail", shape(ROOT), True)
    error: Any = raised.value
    assert isinstance(from_sqlstate(error.sqlstate, str(error)), Conflict)
