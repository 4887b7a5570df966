"""A changed shape is a new version beside the old one; options follow the code."""

from __future__ import annotations

import pytest

from stepwell.db.define import ensure_flow

from .hands import Hands
from .shapes import Shape, chain, flow, single, step, text

OPTIONS = "select opt_max_attempts, opt_timeout from pgflow.flows where flow_slug = 'flow'"


def current(hands: Hands) -> int:
    return hands.value("select version_id from pgflow.flows where flow_slug = 'flow'")


def test_a_run_keeps_the_version_that_it_started_with(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    [old] = hands.start("flow")
    hands.define(chain("flow", 3))
    [new] = hands.start("flow")
    assert hands.drain() == 5
    assert hands.steps(old).keys() == {"s0", "s1"}
    assert hands.steps(new).keys() == {"s0", "s1", "s2"}


def test_an_old_shape_that_comes_back_is_its_old_version(hands: Hands) -> None:
    first, second = hands.define(single("flow")), hands.define(chain("flow"))
    assert current(hands) == second
    assert hands.define(single("flow")) == first
    assert current(hands) == first


def test_a_version_can_be_made_without_becoming_the_current_one(hands: Hands) -> None:
    first = hands.define(single("flow"))
    [row] = ensure_flow(text(chain("flow")), make_current=False).on_sync(hands.conn)
    assert (row.status, row.version_id != first) == ("created", True)
    assert current(hands) == first


@pytest.mark.parametrize(
    "other",
    [
        flow("flow", step("a"), step("b", "a", unmet="fail")),
        flow("flow", step("a"), step("b", "a", exhausted="skip")),
        flow("flow", step("a"), step("b", "a", required={"a": 1})),
        flow("flow", step("a"), step("b", "a", map=True)),
        flow("flow", step("a"), step("b")),
        flow("flow", step("b"), step("a")),
        flow("flow", step("a")),
    ],
)
def test_whatever_changes_a_run_is_a_new_version(hands: Hands, other: Shape) -> None:
    assert hands.define(flow("flow", step("a"), step("b", "a"))) != hands.define(other)


def test_an_input_that_code_of_this_version_ever_wanted_is_given(hands: Hands) -> None:
    for takes_input in (False, True, False):
        hands.define(flow("flow", step("s0", takes_input=takes_input)))
    assert hands.value("select takes_input from pgflow.steps")


def test_options_are_no_part_of_a_version(hands: Hands) -> None:
    plain = hands.define(single("flow"))
    changed = flow("flow", step("s0", timeout=5, maxAttempts=9), timeout=7)
    assert hands.define(changed) == plain
    assert hands.rows("select opt_timeout, opt_max_attempts from pgflow.steps") == [(5, 9)]


def test_a_value_tuned_by_hand_stays_until_the_code_says_something_else(hands: Hands) -> None:
    hands.define(single("flow", maxAttempts=3))
    hands.conn.execute("update pgflow.flows set opt_max_attempts = 10, opt_timeout = 99")
    hands.define(single("flow", maxAttempts=3))
    assert hands.rows(OPTIONS) == [(10, 99)]
    hands.define(single("flow", maxAttempts=4))
    assert hands.rows(OPTIONS) == [(4, 60)]


def test_slugs_are_data(hands: Hands) -> None:
    for slug in ("select", "Flow", "flow", "x" * 128, "_"):
        hands.define(single(slug))
        [run] = hands.start(slug)
        hands.drain()
        assert hands.status(run) == "completed"
