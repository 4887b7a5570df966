"""Connections to a fresh database, and hands on the first; no test may leave a rule broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest

from .hands import Connection, Hands
from .invariants import broken

Connect = Callable[[], Connection]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="record the schema as it is now")


@pytest.fixture
def connect(dsn: str) -> Iterator[Connect]:
    """Connections to the same database, closed at the end."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(psycopg.connect(dsn, autocommit=True))


@pytest.fixture
def hands(connect: Connect) -> Iterator[Hands]:
    """A worker and client; what it leaves behind must keep every rule of invariants.sql."""
    hands = Hands(connect())
    yield hands
    assert broken(hands.conn) == []
