"""`stepwell db`: the embedded Postgres by hand."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stepwell.cli.database import AsJson, Dsn, database
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.migrate import migrate_quietly
from stepwell.cli.output import note, print_json
from stepwell.db.databases import made_anew
from stepwell.dev.find import candidates
from stepwell.dev.postgres import EmbeddedPostgres, Status

YES = ("y", "yes")
db = App(name="db", help="The embedded Postgres: start, stop, reset, url, status; psql.")
Yes = Annotated[bool, Parameter(("--yes", "-y"), negative=(), help="Do not ask.")]


@db.command
def start(*, json: AsJson = False) -> int:
    """Start the embedded Postgres and leave it running until `stepwell db stop`."""
    embedded = EmbeddedPostgres()
    embedded.start(keep=True)
    embedded.release()
    if json:
        print_json(as_data(embedded.status()))
    else:
        note(f"Postgres runs until `stepwell db stop`; its data is in {embedded.home}")
        print(embedded.dsn())
    return Exit.OK


@db.command
def stop(*, json: AsJson = False) -> int:
    """Stop the embedded Postgres, for everybody. Its data stays."""
    embedded = EmbeddedPostgres()
    was_running = embedded.status().running
    embedded.stop()
    if json:
        print_json({**as_data(embedded.status()), "was_running": was_running})
    else:
        print("stopped" if was_running else "it was not running")
    return Exit.OK


@db.command
def url(*, json: AsJson = False) -> int:
    """Print the address of the embedded Postgres: export DATABASE_URL=$(stepwell db url)."""
    found = EmbeddedPostgres().status()
    print_json({"url": found.dsn}) if json else print(found.dsn)
    if not found.running:
        note("it is not running: stepwell db start", style="yellow")
    return Exit.OK


@db.command
def status(*, json: AsJson = False) -> int:
    """Say whether the embedded Postgres runs, and where. Exit code 1 when it does not."""
    found = EmbeddedPostgres().status()
    if json:
        print_json(as_data(found))
    else:
        print(in_words(found))
        print(f"data: {found.home}")
        print(f"url:  {found.dsn}")
    return Exit.OK if found.running else Exit.FAILED


@db.command
def reset(*, yes: Yes = False, json: AsJson = False) -> int:
    """Throw away all that is in the embedded Postgres, and begin anew with an empty schema."""
    embedded = EmbeddedPostgres()
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("this forgets every run in the embedded Postgres: say --yes")
        if input(f"Forget every run in {embedded.home}? [y/N] ").strip().lower() not in YES:
            note("nothing was done")
            return Exit.FAILED
    with embedded:
        made_anew(embedded.dsn("postgres"), "stepwell")
        asyncio.run(migrate_quietly(embedded.dsn()))
    if json:
        print_json({"reset": str(embedded.home)})
    else:
        print("empty, with the schema in place")
    return Exit.OK


@db.command
def psql(
    *words: Annotated[str, Parameter(help="For psql, behind a --: -- -c 'select 1'.")],
    dsn: Dsn = None,
) -> int:
    """Open psql on the database that commands work on: the named one, else the embedded one."""
    program = program_of("psql")
    if program is None:
        raise UsageError("there is no psql: install a Postgres client (Debian: postgresql-client)")
    parts = conninfo_to_dict(database(dsn))
    password = parts.pop("password", None)  # the arguments of a process are for all to see
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    sys.stdout.flush()
    os.execve(program, [str(program), make_conninfo("", **parts), *words], environment)


def program_of(name: str) -> Path | None:
    """A client program of Postgres: where one looks first, else of an installed server."""
    if found := shutil.which(name):
        return Path(found)
    paths = (candidate.directory / name for candidate in candidates())
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def in_words(found: Status) -> str:
    if not found.running:
        return "not running (start it: stepwell db start)"
    until = "until `stepwell db stop`" if found.kept else "as long as somebody uses it"
    return f"running: Postgres {found.major}, process {found.pid}, {until}"


def as_data(found: Status) -> dict[str, object]:
    return {**asdict(found), "home": str(found.home)}
