"""`stepwell migrate`: apply what the database lacks, or say what that is."""

from __future__ import annotations

from typing import Annotated, Any

import psycopg
from cyclopts import Parameter

from stepwell.cli.database import AsJson, Dsn, database
from stepwell.cli.exits import Exit
from stepwell.cli.output import print_json
from stepwell.db import migrate as schema
from stepwell.db.dump import dump

Connection = psycopg.AsyncConnection[Any]


async def migrate(
    *,
    status: Annotated[
        bool, Parameter(negative=(), help="Only look; exit 4 if the database is behind.")
    ] = False,
    dump_sql: Annotated[
        bool, Parameter(negative=(), help="Print the whole schema as SQL; needs no database.")
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Bring the database's schema up to date.

    One transaction, safe to run from many processes at once and while older workers run.
    """
    if dump_sql:
        print(dump())
        return Exit.OK
    address = database(dsn)
    return await show_status(address, json) if status else await apply(address, json)


async def apply(dsn: str, json: bool) -> int:
    async with await connected(dsn) as conn:
        current = await schema.is_current(conn)
        applied = await schema.migrate(conn)
    if json:
        print_json({"applied": applied, "functions_replaced": not current})
        return Exit.OK
    for name in applied:
        print(f"applied {name}")
    if not current:
        print(f"functions of {schema.LIBRARY} in place")
    elif not applied:
        print("up to date")
    return Exit.OK


async def show_status(dsn: str, json: bool) -> int:
    async with await connected(dsn) as conn:
        found = await schema.read_schema(conn)
    missing = [script.name for script in schema.pending(found)]
    current = not missing and found.current
    if json:
        applied = [name for name, _, _ in found.migrations]
        print_json(
            {"up_to_date": current, "applied": applied, "missing": missing, "by": found.library}
        )
    elif current:
        print(f"up to date ({len(found.migrations)} migrations, functions of {found.library})")
    else:
        for name, _, _ in found.migrations:
            print(f"applied {name}")
        for name in missing:
            print(f"missing {name}")
        if not missing and found.functions == schema.functions_digest():
            print("there is no schema pgmq")
        elif not missing:
            print(f"the functions are those of {found.library}, not of this {schema.LIBRARY} code")
        print("run: stepwell migrate")
    return Exit.OK if current else Exit.SCHEMA


async def migrate_quietly(dsn: str) -> list[str]:
    """For `dev` and `demo`: the names of what was applied."""
    async with await connected(dsn) as conn:
        return await schema.migrate(conn)


async def check_schema(dsn: str) -> None:
    """Refuse a database whose schema this code does not fit; SchemaError names the command."""
    async with await connected(dsn) as conn:
        schema.check(await schema.read_schema(conn))


async def connected(dsn: str) -> Connection:
    return await Connection.connect(
        dsn,
        autocommit=True,
        connect_timeout=10,
        prepare_threshold=None,
        application_name="stepwell",
    )
