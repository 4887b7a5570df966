"""The SQL side: one connection to a fresh database for all examples of a test."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from .engine import Engine


@pytest.fixture
def engine(dsn: str) -> Iterator[Engine]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Engine(conn)
