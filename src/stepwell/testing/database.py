"""The server that tests have when nobody gives them one."""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar

import psycopg

from stepwell.db.databases import Databases, Prepare
from stepwell.dev.postgres import EmbeddedPostgres, default_home
from stepwell.errors import DatabaseUnavailable

QUICK = {  # it forgets on a power cut
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
}
PLENTY = 2 * 2**30  # bytes free; it takes about a tenth of a gigabyte
SERVER = "STEPWELL_TEST_DSN"


class NoTestServer(DatabaseUnavailable):
    """No database for tests can be made."""

    remedy: ClassVar[str] = (
        f"{SERVER} names a server and a role that may make databases (alter role … createdb); "
        "unset it to have an embedded one"
    )


class Template:
    """What of theirs is in every database for tests."""

    prepare: Prepare | None = None


def use_template(prepare: Prepare | None) -> None:
    """Put tables of yours beside ours: `prepare(dsn)`, sync or async, is called once in a test run,
    with the address of the database that all others are then cloned from. None: ours alone."""
    Template.prepare = prepare


@contextmanager
def database() -> Generator[str]:
    """The dsn of a fresh database with the schema in it, dropped afterwards. It is on the server
    of STEPWELL_TEST_DSN, else on an embedded one for tests, which all processes share."""
    try:
        fresh = databases_on(os.environ.get(SERVER, ""), Template.prepare).fresh()
        dsn = fresh.__enter__()
    except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
        raise NoTestServer(str(error).strip()) from error
    try:
        yield dsn
    finally:
        fresh.__exit__(None, None, None)


@cache
def databases_on(dsn: str, prepare: Prepare | None = None) -> Databases:
    """One per server, template and process: starting a server takes longer than many a test."""
    if not dsn:
        postgres = EmbeddedPostgres(home_of_tests(), settings=QUICK)
        postgres.start()
        dsn = postgres.dsn("postgres")
    found = Databases(dsn, prepare)
    OPEN.append(found)
    return found


def home_of_tests() -> Path:
    """In memory where there is plenty: a fresh database is a copy of a few hundred files, for which
    a busy disk takes ten times as long. What is there is gone with the machine's next start."""
    memory = Path("/dev/shm")
    if "STEPWELL_HOME" not in os.environ and os.access(memory, os.W_OK):
        found = os.statvfs(memory)
        if found.f_bavail * found.f_frsize > PLENTY and not found.f_flag & os.ST_NOEXEC:
            return memory / f"stepwell-testing-{os.geteuid()}"
    return default_home() / "testing"


OPEN: list[Databases] = []


@atexit.register
def close_all() -> None:
    """Drop what is left of them; who asks again begins anew."""
    databases_on.cache_clear()
    while OPEN:
        OPEN.pop().close()
