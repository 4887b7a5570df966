"""Conditions, options and waits that could never be are refused where they are written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from stepwell import Flow
from stepwell.errors import DefinitionError

from .refusals import flow_refused as refused
from .refusals import orders, other_step, take_line


@pytest.fixture
def flow() -> Flow:
    return orders()


@pytest.mark.parametrize("name", ["when", "unless"])
@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        (["reserve"], "must be a dict"),
        ("reserve", "must be a dict"),
        ({}, "leave it out"),
        ({7: 1}, "keys must be text"),
        ({"reserve": {"x": object()}}, "$.reserve.x"),
        ({"reserve": float("nan")}, "not a JSON number"),
        ({"resrve": 1}, "did you mean 'reserve'"),
    ],
)
def test_a_pattern_that_is_never_met(flow: Flow, name: str, pattern: Any, remedy: str) -> None:
    options: Any = {name: pattern}
    with refused("step 'charge'", name, remedy):

        @flow.step(**options)
        def charge(reserve: int) -> None: ...


def test_a_pattern_of_a_root_step_that_names_a_step(flow: Flow) -> None:
    with refused("step 'audit'", "names step 'reserve'", "depend on 'reserve'"):

        @flow.step(when={"reserve": {"ok": True}})
        def audit(flow_input: dict[str, int]) -> None: ...


def test_a_pattern_of_a_root_step_that_names_the_flow_input(flow: Flow) -> None:
    with refused("step 'audit'", "take its contents out of 'flow_input'"):

        @flow.step(when={"flow_input": {"ok": True}})
        def audit(flow_input: dict[str, int]) -> None: ...


def test_a_pattern_of_a_map_step_that_names_another_step(flow: Flow) -> None:
    with refused("step 'pack'", "names step 'reserve'", "put the condition on 'lines'"):

        @flow.map(over="lines", when={"reserve": {"ok": True}})
        def pack(line: str) -> None: ...


def test_a_pattern_of_a_root_map_step() -> None:
    with refused("step 'pack'", "put the condition on a step before"):
        Flow("orders").map(slug="pack", when={"a": 1})(take_line)


BAD_NUMBERS: list[tuple[str, Any, str]] = [
    ("max_attempts", 0, "between 1"),
    ("max_attempts", True, "whole number"),
    ("max_attempts", 2.0, "whole number"),
    ("max_attempts", 2**31, "2147483647"),
    ("base_delay", -1, "between 0"),
    ("base_delay", "5", "seconds"),
    ("timeout", 0, "between 1"),
    ("max_delay", -1, "between 0"),
    ("jitter", -0.1, "from 0 to 1"),
    ("jitter", 1.1, "from 0 to 1"),
    ("jitter", float("nan"), "from 0 to 1"),
    ("jitter", True, "from 0 to 1"),
]


@pytest.mark.parametrize(
    ("name", "value", "remedy"), [*BAD_NUMBERS, ("start_delay", -1, "between")]
)
def test_a_number_of_a_step_out_of_range(flow: Flow, name: str, value: Any, remedy: str) -> None:
    options: Any = {name: value}
    with refused("step 'charge'", name, remedy):
        flow.step(slug="charge", **options)(lambda: 1)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        *BAD_NUMBERS,
        ("timeout", None, "whole number"),
        ("max_crashes", -1, "between 0"),
        ("queue", "", "must be a name"),
        ("queue", 7, "must be a name"),
        ("queue", "q\ud800", "must be a name"),
        ("queue", "q" * 129, "has 129 characters; it must have at most 128"),
    ],
)
def test_a_number_of_a_flow_out_of_range(name: str, value: Any, remedy: str) -> None:
    options: Any = {name: value}
    with refused(name, remedy):
        Flow("orders", **options)


@pytest.mark.parametrize("name", ["if_unmet", "if_exhausted"])
def test_a_policy_that_does_not_exist(flow: Flow, name: str) -> None:
    options: Any = {name: "retry"}
    with refused("step 'charge'", name, "'skip-cascade'"):
        flow.step(slug="charge", **options)(lambda: 1)


def test_an_option_that_does_not_exist(flow: Flow) -> None:
    with refused("step 'charge'", "'max_attempt'", "did you mean 'max_attempts'"):
        flow.step(slug="charge", max_attempt=3)(lambda: 1)  # pyright: ignore


def test_a_wait_that_cannot_be(flow: Flow) -> None:
    with refused("step 'a-b'", "no slug"):
        flow.signal("a-b")
    with refused("step 'go'", "the name of its signal"):
        flow.signal("", slug="go")
    with refused("step 'reserve'", "already has"):
        flow.signal("reserve")
    with refused("step 'go'", "timeout is -1"):
        flow.signal("go", timeout=-1)
    with refused("step 'go'", "if_exhausted", "'skip-cascade'"):
        flow.signal("go", if_exhausted="retry")  # pyright: ignore
    with refused("step 'go'", "'foreign' belongs to flow 'other'"):
        flow.signal("go", after=other_step())
    with refused("step 'nap'", "duration", "between 0"):
        flow.sleep("nap", -1)
    with refused("step 'nap'", "timedelta of whole seconds"):
        flow.sleep("nap", 0.5)  # pyright: ignore
    with refused("step 'nap'", "not 'reserve'"):
        flow.sleep("nap", 1, after=["reserve"])  # pyright: ignore


def test_a_map_over_a_sleep(flow: Flow) -> None:
    flow.sleep("nap", 1)
    with refused("step 'pack'", "'nap'"):
        flow.map(over="nap", slug="pack")(take_line)


@pytest.mark.parametrize("duration", [0.5, timedelta(milliseconds=1), None, -1])
def test_a_sleep_of_a_part_of_a_second(flow: Flow, duration: Any) -> None:
    with pytest.raises(DefinitionError, match="step 'pause': duration is"):
        flow.sleep("pause", duration)
