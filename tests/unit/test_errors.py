"""The tree of errors: its picture is true, it translates SQLSTATEs, it survives a process."""

from __future__ import annotations

import pickle
import re
from uuid import UUID

import pytest

import stepwell.errors as errors
from stepwell.errors import (
    BY_SQLSTATE,
    DatabaseUnavailable,
    InvalidArgument,
    InvalidDefinition,
    NotFound,
    RunCancelled,
    RunFailed,
    RunTimeout,
    StepwellError,
    from_sqlstate,
)

RUN = UUID("01939f0e-0000-7000-8000-000000000000")


def tree(cls: type[StepwellError]) -> set[type[StepwellError]]:
    return {cls}.union(*(tree(child) for child in cls.__subclasses__()))


def test_the_picture_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^[│ ├└─]*([A-Z]\w+)", errors.__doc__ or "", flags=re.MULTILINE)
    ours = {cls.__name__ for cls in tree(StepwellError) if cls.__module__ == errors.__name__}
    assert {name for name in drawn if hasattr(errors, name)} == ours


def test_every_error_says_what_it_means() -> None:
    assert all(cls.__doc__ for cls in tree(StepwellError))


def test_sqlstates_of_the_core_become_our_errors() -> None:
    assert set(BY_SQLSTATE) == {"PF404", "PF409", "PF410", "PF412", "PF413", "PF422"}
    translated = from_sqlstate("PF404", "no flow 'orders'")
    assert isinstance(translated, NotFound)
    assert str(translated) == "no flow 'orders'"


@pytest.mark.parametrize("code", ["23505", None, ""])
def test_other_sqlstates_are_not_ours_to_explain(code: str | None) -> None:
    assert from_sqlstate(code, "duplicate key") is None


def test_a_failed_run_names_the_run_the_step_and_the_error() -> None:
    error = RunFailed(RUN, "charge", "CardDeclined", "no money")
    assert str(error) == f"run {RUN} failed at step 'charge': CardDeclined: no money"
    assert (error.run_id, error.step, error.error_type, error.message) == (
        RUN,
        "charge",
        "CardDeclined",
        "no money",
    )


def test_a_failed_run_says_what_is_known() -> None:
    assert str(RunFailed(RUN)) == f"run {RUN} failed"
    assert (
        str(RunFailed(RUN, message="Condition not met")) == f"run {RUN} failed: Condition not met"
    )


def test_a_cancelled_run_is_a_failed_run_that_says_cancelled() -> None:
    assert isinstance(RunCancelled(RUN), RunFailed)
    assert str(RunCancelled(RUN)) == f"run {RUN} was cancelled"


def test_a_timeout_names_the_run_and_is_the_standard_timeout_too() -> None:
    error = RunTimeout(RUN, 60)
    assert isinstance(error, TimeoutError)
    assert str(RUN) in str(error)
    assert "60 s" in str(error)


def test_an_unreachable_database_comes_with_what_to_do() -> None:
    assert "DATABASE_URL" in str(DatabaseUnavailable("connection refused"))
    assert "connection refused" in str(DatabaseUnavailable("connection refused"))


@pytest.mark.parametrize(
    "error",
    [
        RunFailed(RUN, "charge", "CardDeclined", "no money"),
        RunCancelled(RUN),
        RunTimeout(RUN, 2.5),
        DatabaseUnavailable("refused"),
        NotFound("no run"),
        InvalidDefinition("unknown_dependency", "no such step", step="b", value="a"),
        InvalidArgument("invalid_id", "no id", value="x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_travels_between_processes(error: StepwellError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_a_refusal_carries_its_reason_in_a_word() -> None:
    error = InvalidDefinition("unknown_dependency", "no such step", step="b", value="a")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.step, copy.value) == ("unknown_dependency", "b", "a")
    assert isinstance(InvalidArgument("invalid_id", "no id"), ValueError)
