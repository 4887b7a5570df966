"""The server that tests have when nobody gives them one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

from stepwell.db.databases import Databases
from stepwell.dev.postgres import EmbeddedPostgres, default_home

QUICK = {  # it forgets on a power cut
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
}


@contextmanager
def database() -> Generator[str]:
    """The dsn of a fresh database with the schema in it, dropped afterwards. It is on the server
    of STEPWELL_TEST_DSN, else on an embedded one for tests, which all processes share."""
    with databases_on(os.environ.get("STEPWELL_TEST_DSN", "")).fresh() as dsn:
        yield dsn


@cache
def databases_on(dsn: str) -> Databases:
    """One per server and process: starting a server takes longer than many a test."""
    if not dsn:
        postgres = EmbeddedPostgres(default_home() / "testing", settings=QUICK)
        postgres.start()
        dsn = postgres.dsn("postgres")
    found = Databases(dsn)
    atexit.register(found.close)
    return found
