"""A caller on a fresh database; what it leaves behind must keep every rule."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.db.conftest import Connect
from tests.db.invariants import broken

from .calls import Caller


@pytest.fixture
def caller(connect: Connect) -> Iterator[Caller]:
    caller = Caller(connect())
    yield caller
    assert broken(caller.conn) == []


@pytest.fixture
def bare(connect: Connect) -> Caller:
    """For tests that leave runs half way, as a call of one pass does."""
    return Caller(connect())
