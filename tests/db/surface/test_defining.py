"""create_flow and add_step."""

from __future__ import annotations

from typing import Any, LiteralString

import pytest
from psycopg import errors

from .calls import Caller

STEP: LiteralString = (
    "select step_type, step_index, deps_count, opt_max_attempts, opt_base_delay, opt_timeout,"
    " opt_start_delay, required_input_pattern, forbidden_input_pattern, when_unmet, when_exhausted"
)


def test_a_new_flow_has_the_defaults_of_its_functions_not_of_its_table(caller: Caller) -> None:
    row = caller.row("select * from pgflow.create_flow('flow')")
    said = [row[f"opt_{name}"] for name in ("max_attempts", "base_delay", "timeout")]
    assert (row["flow_slug"], said) == ("flow", [3, 5, 60])
    assert row["created_at"] is not None


def test_a_flow_that_exists_comes_back_as_it_is(caller: Caller) -> None:
    first = caller.row("select * from pgflow.create_flow('flow', 1, 2, 3)")
    assert caller.row("select * from pgflow.create_flow('flow', 7, 8, 9)") == first
    assert [first[f"opt_{n}"] for n in ("max_attempts", "base_delay", "timeout")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "constraint"),
    [
        (("run", None, None, None), "slug_is_valid"),
        (("flow", -1, None, None), "opt_max_attempts_is_nonnegative"),
        (("flow", None, -1, None), "opt_base_delay_is_nonnegative"),
        (("flow", None, None, 0), "opt_timeout_is_positive"),
    ],
)
def test_a_flow_that_cannot_be_breaks_a_constraint(
    caller: Caller, arguments: tuple[Any, ...], constraint: str
) -> None:
    with pytest.raises(errors.CheckViolation, match=f'violates check constraint "{constraint}"'):
        caller.do("select pgflow.create_flow(%s, %s, %s, %s)", *arguments)


def test_steps_are_numbered_in_the_order_in_which_they_come(caller: Caller) -> None:
    caller.do("select pgflow.create_flow('flow')")
    row = caller.row(STEP + " from pgflow.add_step('flow', 'first')")
    assert row == {
        "step_type": "single",
        "step_index": 0,
        "deps_count": 0,
        "opt_max_attempts": None,
        "opt_base_delay": None,
        "opt_timeout": None,
        "opt_start_delay": None,
        "required_input_pattern": None,
        "forbidden_input_pattern": None,
        "when_unmet": "skip",
        "when_exhausted": "fail",
    }
    row = caller.row(
        STEP + " from pgflow.add_step('flow', 'second', array['first'], 1, 2, 3, 4, 'map',"
        """ '{"a": 1}', '{"b": 2}', 'skip-cascade', 'skip')"""
    )
    assert list(row.values()) == [
        *("map", 1, 1, 1, 2, 3, 4, {"a": 1}, {"b": 2}, "skip-cascade", "skip")
    ]
    edges = "select dep_slug, step_slug from pgflow.deps"
    assert caller.rows(edges) == [{"dep_slug": "first", "step_slug": "second"}]


def test_no_type_and_no_dependencies_mean_a_single_root(caller: Caller) -> None:
    caller.do("select pgflow.create_flow('flow')")
    row = caller.row(STEP + " from pgflow.add_step('flow', 's', null, step_type => null)")
    assert (row["step_type"], row["deps_count"]) == ("single", 0)


def test_a_step_that_exists_comes_back_as_it_is(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""))
    again = "select * from pgflow.add_step('flow', 'b', array['a'], max_attempts => 9)"
    row = caller.row(again)
    assert (row["step_index"], row["deps_count"], row["opt_max_attempts"]) == (1, 0, None)
    assert caller.rows("select * from pgflow.deps") == []  # an edge that nothing counts


def test_a_parent_that_is_named_twice_is_one(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", "a a"))
    run = caller.start("flow")
    caller.take(run, "a")
    caller.complete(run, "a")
    assert caller.statuses(run) == {"a": "completed", "b": "started"}


def test_a_map_has_one_parent(caller: Caller) -> None:
    caller.flow("flow", ("a", ""), ("b", ""))
    text = 'Map step "m" can have at most one dependency, but 2 were provided: a, b'
    with pytest.raises(errors.RaiseException, match=text):
        caller.do("select pgflow.add_step('flow', 'm', array['a', 'b'], step_type => 'map')")


@pytest.mark.parametrize(
    ("call", "error", "constraint"),
    [
        ("'nope', 's'", errors.ForeignKeyViolation, "steps_flow_slug_fkey"),
        ("'flow', 's', array['x']", errors.ForeignKeyViolation, "deps_flow_slug_dep_slug_fkey"),
        ("'flow', 'a b'", errors.CheckViolation, "steps_step_slug_check"),
        ("'flow', 's', array['s']", errors.CheckViolation, "deps_check"),
        ("'flow', 's', step_type => 'x'", errors.CheckViolation, "steps_step_type_check"),
        ("'flow', 's', when_unmet => 'x'", errors.CheckViolation, "when_unmet_is_valid"),
        ("'flow', 's', when_exhausted => 'x'", errors.CheckViolation, "when_exhausted_is_valid"),
        ("'flow', 's', start_delay => -1", errors.CheckViolation, "opt_start_delay_is_nonnegative"),
        ("'flow', 's', timeout => 0", errors.CheckViolation, "opt_timeout_is_positive"),
        ("'flow', 's', base_delay => -1", errors.CheckViolation, "opt_base_delay_is_nonnegative"),
        ("'flow', 's', max_attempts => -1", errors.CheckViolation, "max_attempts_is_nonnegative"),
        (
            "'flow', 's', required_input_pattern => '[]'",
            errors.CheckViolation,
            "required_input_pattern_is_object",
        ),
        (
            "'flow', 's', forbidden_input_pattern => '1'",
            errors.CheckViolation,
            "forbidden_input_pattern_is_object",
        ),
        ("'flow', 's', when_unmet => null", errors.NotNullViolation, "when_unmet"),
    ],
)
def test_a_step_that_cannot_be_breaks_a_constraint(
    caller: Caller, call: LiteralString, error: type[Exception], constraint: str
) -> None:
    caller.do("select pgflow.create_flow('flow')")
    with pytest.raises(error, match=constraint):
        caller.do("select pgflow.add_step(" + call + ")")
