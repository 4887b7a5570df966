"""The schema as a whole, as pg_dump tells it, so that a review sees what a change does to it.

After a change on purpose: `pytest tests/db/test_golden.py --update-golden`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stepwell.dev.find import candidates

GOLDEN = Path(__file__).parent / "golden" / "schema.sql"
pytestmark = pytest.mark.timeout(60)


def dump(dsn: str) -> str:
    program = next(
        c.directory / "pg_dump" for c in candidates() if (c.directory / "pg_dump").exists()
    )
    told = subprocess.run(
        [program, "--schema-only", "--schema=pgflow", "--schema=pgmq", "--no-owner", dsn],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # the version of the day, and a word that is random in every dump
    noise = ("\\restrict", "\\unrestrict", "-- Dumped")
    entries = "\n".join(line for line in told.splitlines() if not line.startswith(noise))
    return "\n--\n".join(map(without_body, entries.split("\n--\n"))) + "\n"


def without_body(entry: str) -> str:
    """Of a function only the signature: its body has a file and a history of its own."""
    return "" if entry.lstrip().startswith("CREATE FUNCTION") else entry


def test_the_schema_is_the_one_on_record(dsn: str, request: pytest.FixtureRequest) -> None:
    now = dump(dsn)
    if request.config.getoption("--update-golden", default=False):
        GOLDEN.write_text(now)
    assert now.splitlines() == GOLDEN.read_text().splitlines(), "on purpose? use --update-golden"
