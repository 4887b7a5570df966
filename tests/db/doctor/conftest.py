"""A database that is well."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.db.hands import Hands
from tests.db.shapes import single

from .patient import tell


@pytest.fixture
def shop(dsn: str) -> Iterator[Hands]:
    """A database that is well: a worker serves a flow. Not `hands`: its rules will be broken."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        hands.define(single("orders"))
        hands.register(lease=3600)
        tell(hands)
        yield hands
