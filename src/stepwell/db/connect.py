"""How every connection of ours is opened, and what its errors mean."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from stepwell.errors import DatabaseUnavailable, SettingsError

# libpq gives no SQLSTATE when connecting fails; what is said in another language is tried again
HOPELESS = re.compile(
    r"authentication failed for user|no password supplied|no pg_hba\.conf entry"
    r'|(database|role) ".*" does not exist'
)
WRONG = {"28P01", "28000", "3D000"}
ROLLED_BACK = "40"  # deadlocks and serialization failures: nothing was done


def connect_options(dsn: str, timeout: float, application_name: str) -> dict[str, Any]:
    """What every connection of ours is opened with; SettingsError when the dsn is none."""
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise SettingsError(  # the driver's message would show the password
            "the dsn is no connection string that Postgres understands; write "
            "postgresql://user:password@host:5432/database or host=... dbname=..."
        ) from None
    ours = {
        "autocommit": True,
        "prepare_threshold": None,  # a transaction pooler has no session to prepare in
        "connect_timeout": max(2, round(timeout)),
        "application_name": application_name,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    return {**ours, **given}


def hopeless(error: psycopg.Error) -> bool:
    """A wrong password or database does not mend itself."""
    return error.sqlstate in WRONG or HOPELESS.search(str(error)) is not None


def passing(error: psycopg.OperationalError) -> bool:
    """The connection broke or was not to be had, or Postgres rolled back for others' sake."""
    state = error.sqlstate
    return state is None or state.startswith((ROLLED_BACK, "08", "57P", "53300"))


def raise_if_hopeless(error: psycopg.OperationalError) -> None:
    """For who tries again: what will not mend itself is DatabaseUnavailable."""
    if hopeless(error):
        raise DatabaseUnavailable(str(error).strip()) from error


def raise_unless_passing(error: psycopg.OperationalError) -> None:
    """The same for who has nothing else to raise it: any error that does not pass."""
    raise_if_hopeless(error)
    if not passing(error):
        raise error
