"""The rules of invariants.sql, held against a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg

RULES = cast(LiteralString, Path(__file__).with_name("invariants.sql").read_text())


def broken(conn: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Which rule, and which run, step and task break it; nothing when all is well."""
    return conn.execute(RULES).fetchall()
