"""`stepwell migrate`: apply what the database lacks, or say what that is."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

import psycopg
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn, database
from stepwell.cli.exits import Exit
from stepwell.cli.output import note, print_json, visible
from stepwell.db import migrate as schema
from stepwell.db.build import Told, steps_left
from stepwell.db.connect import connect_options
from stepwell.db.dump import dump
from stepwell.db.files import Script
from stepwell.db.progress import under_way

Connection = psycopg.AsyncConnection[Any]


async def migrate(
    *,
    status: Annotated[
        bool, Parameter(negative=(), help="Only look; exit 4 if the database is behind.")
    ] = False,
    dump_sql: Annotated[
        bool, Parameter(negative=(), help="Print the whole schema as SQL; needs no database.")
    ] = False,
    skip_builds: Annotated[
        bool,
        Parameter(
            negative=(), help="Leave indexes of tables in use to a later `stepwell migrate`."
        ),
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Bring the database's schema up to date.

    One transaction, safe to run from many processes at once and while older
    workers run. Indexes of tables that are in use are built after it, beside the
    work; new workers need not wait for them.
    """
    if dump_sql:
        print(dump())
        return Exit.OK
    address = database(dsn)
    if status:
        return await show_status(address, json)
    return await apply(address, json, builds=not skip_builds)


async def apply(dsn: str, json: bool, *, builds: bool) -> int:
    async with await connected(dsn) as conn:
        current = await schema.is_current(conn)
        with telling() as told:
            applied = await schema.migrate(conn, told, builds=builds)
        left = await steps_left(conn, await schema.to_build(conn))
    if left:
        note(f"left to build: {', '.join(map(str, left))}. Run: stepwell migrate")
    if json:
        print_json({"applied": applied, "functions_replaced": not current})
        return Exit.OK
    for name in applied:
        print(f"applied {name}")
    if not current:
        print(f"functions of {schema.LIBRARY} in place")
    elif not applied and not left:
        print("up to date")
    return Exit.OK


@contextmanager
def telling() -> Generator[Told]:
    """What is being built, on stderr: in one line that changes on a terminal, else in a line for
    each change."""
    line = Console(stderr=True, highlight=False).status("")
    last = ""

    def told(text: str) -> None:
        nonlocal last
        if text == last:
            return
        last = text
        if sys.stderr.isatty():
            line.update(Text(visible(text)))
            line.start()
        else:
            note(visible(text))

    try:
        yield told
    finally:
        line.stop()


async def show_status(dsn: str, json: bool) -> int:
    async with await connected(dsn) as conn:
        found = await schema.read_schema(conn)
        missing = schema.pending(found)
        building = await under_way(conn)
        left = [script for script in missing if script.concurrent] if found.migrations else []
        steps = [str(step) for step in await steps_left(conn, left)]
    names = [script.name for script in missing]
    current = not missing and found.current
    if json:
        print_json(
            {
                "up_to_date": current,
                "applied": [name for name, _, _ in found.migrations],
                "missing": names,
                "to_build": steps,
                "building": building,
                "by": found.library,
            }
        )
    elif current:
        print(f"up to date ({len(found.migrations)} migrations, functions of {found.library})")
    else:
        for line in behind(found, missing):
            print(line)
        for step in steps:
            print(f"to do beside the work of others: {step}")
        for said in building:
            print(said)
        print("run: stepwell migrate")
    return Exit.OK if current else Exit.SCHEMA


def behind(found: schema.Schema, missing: list[Script]) -> Generator[str]:
    """What a database has, and what keeps this code from working on it."""
    for name, _, _ in found.migrations:
        yield f"applied {name}"
    for script in missing:
        yield f"missing {script.name}"
    if not found.migrations or not all(script.concurrent for script in missing):
        return
    if found.current:
        yield "workers and clients of this version need not wait for it"
    elif found.functions == schema.functions_digest():
        yield "there is no schema pgmq"
    else:
        yield f"the functions are those of {found.library}, not of this {schema.LIBRARY} code"


async def migrate_quietly(dsn: str) -> list[str]:
    """For `dev` and `demo`: the names of what was applied."""
    async with await connected(dsn) as conn:
        return await schema.migrate(conn)


async def check_schema(dsn: str) -> None:
    """Refuse a database whose schema this code does not fit; SchemaError names the command."""
    async with await connected(dsn) as conn:
        schema.check(await schema.read_schema(conn))


async def connected(dsn: str) -> Connection:
    return await Connection.connect(**connect_options(dsn, 10, "stepwell"))
