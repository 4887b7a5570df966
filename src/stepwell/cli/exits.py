"""What a command's exit code means, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from stepwell.errors import (
    DatabaseUnavailable,
    EmbeddedError,
    PayloadError,
    SchemaError,
    SettingsError,
    StepwellError,
)


class Exit(IntEnum):
    """Scripts may rely on these."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DATABASE = 3
    SCHEMA = 4
    INTERRUPTED = 130


SAYS = {
    Exit.OK: "done",
    Exit.FAILED: "failed, not found, or a run that did not complete",
    Exit.USAGE: "wrong usage, a wrong setting, or input that is not JSON",
    Exit.DATABASE: "no database",
    Exit.SCHEMA: "the schema does not fit",
    Exit.INTERRUPTED: "interrupted",
}
MEANING = (
    "Exit codes: 0 done, 1 failed or not found, 2 wrong usage, 3 no database, "
    "4 the schema does not fit."
)

WHAT_NOW = "see: stepwell runs show {0} --attempts; once mended: stepwell runs retry {0}"
REMEDIES = {  # by what Postgres calls it
    "42501": (
        "grant this role usage on schema pgflow, execute on its functions, select, insert, update "
        "and delete on its tables, and usage on its sequences; or run as the owner of the schema"
    ),
    **dict.fromkeys(
        ("3F000", "42883", "42P01", "42703"),
        "the schema of this database is not the one of this code: run `stepwell migrate`",
    ),
}


class UsageError(StepwellError):
    """What was typed cannot be meant. The message says what can."""


class LoadError(StepwellError):
    """The program that was named could not be imported: its own code raised."""


def exit_of(error: BaseException) -> Exit | None:
    """The exit code of an error that needs no traceback; None for a defect of ours."""
    match error:
        case UsageError() | SettingsError() | PayloadError():
            return Exit.USAGE
        case DatabaseUnavailable() | EmbeddedError():
            return Exit.DATABASE
        case SchemaError():
            return Exit.SCHEMA
        case StepwellError():
            return Exit.FAILED
        case KeyboardInterrupt():
            return Exit.INTERRUPTED
        case _ if is_connection_error(error):
            return Exit.DATABASE
        case _:
            return Exit.FAILED if is_of_driver(error) else None


def is_connection_error(error: BaseException) -> bool:
    return is_of_driver(error, "OperationalError")


def is_of_driver(error: BaseException, name: str = "Error") -> bool:
    """By name, so that `--help` need not load the driver."""
    return any(
        cls.__module__.startswith("psycopg") and cls.__name__ == name for cls in type(error).__mro__
    )


def refused(error: Any) -> str:
    """What Postgres did not let us do, and what helps."""
    said = str(error.diag.message_primary or error).strip() or type(error).__name__
    remedy = REMEDIES.get(error.sqlstate or "") or error.diag.message_hint
    if not remedy:
        state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        remedy = f"see the log of Postgres{state}, and if `stepwell migrate --status` is content"
    return f"{said.splitlines()[0]}\n{' '.join(remedy.split())}"


def message_of(error: BaseException) -> str:
    """One or two lines for a person. What libpq says in many lines is told by its first."""
    if is_connection_error(error):
        error = DatabaseUnavailable(str(error))
    if isinstance(error, DatabaseUnavailable):
        first = (error.args or ("no connection to Postgres",))[0]
        return f"{str(first).strip().splitlines()[0]}\n{error.remedy}"
    if is_of_driver(error):
        return refused(error)
    return str(error).strip() or type(error).__name__
