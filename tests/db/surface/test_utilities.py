"""is_local, is_valid_slug, calculate_retry_delay, and the two that are only said to exist."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import errors

from .calls import Caller

SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"


@pytest.mark.parametrize(("secret", "local"), [(None, False), ("", False), (SECRET, True)])
def test_a_local_database_is_known_by_its_secret(
    caller: Caller, secret: str | None, local: bool
) -> None:
    if secret is not None:
        caller.do("select set_config('app.settings.jwt_secret', %s, false)", secret)
    assert caller.value("select pgflow.is_local()") is local


@pytest.mark.parametrize(
    ("slug", "valid"),
    [
        ("orders", True),
        ("Orders_2", True),
        ("_", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        (None, False),
        ("2nd", False),
        ("a-b", False),
        ("a b", False),
        ("run", False),
        ("Run", True),
        ("é", False),
    ],
)
def test_a_slug_is_a_word(caller: Caller, slug: str | None, valid: bool) -> None:
    assert caller.value("select pgflow.is_valid_slug(%s)", slug) is valid


@pytest.mark.parametrize(
    ("base", "attempts", "delay"), [(5, 1, 10), (7, 2, 28), (1, 0, 1), (0, 9, 0), (1.5, 1, 3)]
)
def test_a_retry_waits_the_base_times_two_to_the_attempts(
    caller: Caller, base: Any, attempts: int, delay: int
) -> None:
    query = "select pgflow.calculate_retry_delay(%s::numeric, %s)"
    assert caller.value(query, base, attempts) == delay


def test_a_retry_delay_beyond_an_int_is_an_error(caller: Caller) -> None:
    with pytest.raises(errors.NumericValueOutOfRange):
        caller.value("select pgflow.calculate_retry_delay(1, 40)")
