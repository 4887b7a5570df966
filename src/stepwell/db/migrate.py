"""Bring a database to this version: new migrations once, then every function again, then what is
built beside the work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.metadata import version as installed_version
from typing import Any, LiteralString, cast

from psycopg import AsyncConnection

from stepwell.db.build import Told, builder, steps_of
from stepwell.db.crowd import BRIEFLY, patiently, take
from stepwell.db.encoding import check_encoding
from stepwell.db.files import SQL, Script, read_folder
from stepwell.db.foreign import FILLED, OURS, not_ours
from stepwell.errors import SchemaError

LIBRARY = installed_version("stepwell")
QUEUES = "select pgflow.expose_flows()"
GUEST = """
    select from pg_namespace n where n.nspname = 'pgmq' and not pgflow.owns_pgmq()
      and not (pg_has_role(n.nspowner, 'usage')  -- empty: made for us
        and not exists (select from pg_class where relnamespace = n.oid)
        and not exists (select from pg_proc where pronamespace = n.oid))
"""
LOCK = "select pg_advisory_xact_lock(hashtext('stepwell.migrate'))"
LACKING = """
    select quote_ident(current_user), quote_ident(current_database()), name
    from unnest(array['pgflow', 'pgmq']) name
    where to_regnamespace(name) is null
      and not has_database_privilege(current_database(), 'create')
"""
APPLIED = (
    "insert into pgflow.stepwell_migrations (name, checksum, breaking) values (%s, %s, %s)"
    " on conflict (name) do nothing"
)
LEDGER = """
    do $$ begin
      if to_regnamespace('pgflow') is null then  -- `if not exists` asks for the right all the same
        create schema pgflow;
      end if;
    end $$;
    create table if not exists pgflow.stepwell_migrations (
      name text primary key,
      checksum text not null,
      breaking boolean not null,
      applied_at timestamptz not null default now()
    );
    create table if not exists pgflow.stepwell_schema (
      only_row boolean primary key default true check (only_row),
      library text not null,
      functions text not null,
      migrated_at timestamptz not null default now()
    );
"""


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database has of ours."""

    exists: bool = False
    ours: bool = False
    migrations: tuple[tuple[str, str, bool], ...] = ()
    library: str = ""
    functions: str = ""
    queues: bool = False

    @property
    def current(self) -> bool:
        """Its functions are those of this code, and somebody's pgmq is there."""
        return self.queues and self.functions == functions_digest()

    @property
    def checksums(self) -> dict[str, str]:
        return {name: checksum for name, checksum, _ in self.migrations}


def migrations() -> list[Script]:
    return read_folder("migrations")


def functions() -> list[Script]:
    """Everything that is re-applied, in order: types and functions, views, grants."""
    last = [Script(name, (SQL / name).read_text()) for name in ("views.sql", "grants.sql")]
    scripts = read_folder("functions")
    first = [s for s in scripts if s.name in ("types.sql", "clock.sql", "errors.sql")]
    return first[::-1] + [s for s in scripts if s not in first] + last


def queue_functions() -> list[Script]:
    """The schema pgmq of our own, re-applied where there is none or one of ours."""
    scripts = read_folder("pgmq")
    return sorted(scripts, key=lambda script: script.name != "schema.sql")


def functions_digest() -> str:
    scripts = functions() + queue_functions()
    return sha256("".join(s.checksum for s in scripts).encode()).hexdigest()


async def read_schema(conn: AsyncConnection[Any]) -> Schema:
    """Look at a database without changing it. SchemaError when it could never have our schema."""
    check_encoding(conn)
    row = await (
        await conn.execute(
            f"select to_regnamespace('pgflow') is not null, {OURS}, {FILLED},"
            " to_regnamespace('pgmq') is not null"
        )
    ).fetchone()
    assert row is not None
    exists, ours, filled, queues = row
    if not ours:
        return Schema(exists=exists and filled)
    applied = await (
        await conn.execute(
            "select name, checksum, breaking from pgflow.stepwell_migrations order by name"
        )
    ).fetchall()
    stamp = await (
        await conn.execute("select library, functions from pgflow.stepwell_schema")
    ).fetchone()
    library, digest = stamp or ("", "")
    return Schema(True, True, tuple(applied), library, digest, queues)


async def migrate(
    conn: AsyncConnection[Any], told: Told = lambda _: None, *, builds: bool = True
) -> list[str]:
    """Apply what is missing and return its names. Safe to run from many processes at once, and
    while workers run: who has a table in use is waited for, but never for long at a time.

    All or nothing: one transaction. A database that is up to date is not touched. What takes long
    on large tables comes after it, beside the work, and `told` how far that is; without `builds` it
    is left to another migrate.
    """
    schema = await read_schema(conn)
    applied: list[str] = []
    if not (all(script.concurrent for script in pending(schema)) and schema.current):
        applied = await patiently(partial(apply_all, conn), conn)
    if builds and await to_build(conn):
        applied += await build_all(conn, told)
    return applied


async def apply_all(conn: AsyncConnection[Any]) -> list[str]:
    async with conn.transaction():
        await conn.execute(LOCK)
        await conn.execute(BRIEFLY)
        schema = await read_schema(conn)
        fresh = not schema.migrations
        missing = [script for script in pending(schema) if fresh or not script.concurrent]
        if not missing and schema.current:
            return []  # another process was faster
        await check_rights(conn)
        await conn.execute(LEDGER)
        await take(conn, {table for script in missing for table in script.tables})
        for script in missing:
            await conn.execute(cast(LiteralString, script.plain))
            await conn.execute(APPLIED, (script.name, script.checksum, script.breaking))
        await conn.execute("set local check_function_bodies = off")
        await apply(conn, functions())
        await apply_queues(conn)
        await conn.execute(
            "insert into pgflow.stepwell_schema (library, functions) values (%s, %s)"
            " on conflict (only_row) do update set library = excluded.library,"
            " functions = excluded.functions, migrated_at = now()",
            (LIBRARY, functions_digest()),
        )
    return [script.name for script in missing]


async def to_build(conn: AsyncConnection[Any]) -> list[Script]:
    """The migrations that run beside the work and have not, or not to their end."""
    done = (await read_schema(conn)).checksums
    return [script for script in migrations() if script.concurrent and script.name not in done]


async def build_all(conn: AsyncConnection[Any], told: Told) -> list[str]:
    built: list[str] = []
    async with builder(conn, told) as build:
        for script in await to_build(conn):
            for step in steps_of(script):
                await build.do(step)
            await build.conn.execute(APPLIED, (script.name, script.checksum, script.breaking))
            built.append(script.name)
    return built


async def check_rights(conn: AsyncConnection[Any]) -> None:
    """Say what a role lacks that may not make our schemas."""
    if row := await (await conn.execute(LACKING)).fetchone():
        role, database, schema = row
        raise SchemaError(
            f"role {role} cannot make schema {schema} in database {database}. Let it: grant create "
            f"on database {database} to {role}; or make both for it: create schema pgflow "
            f"authorization {role}; create schema pgmq authorization {role}"
        )


async def apply(conn: AsyncConnection[Any], scripts: list[Script]) -> None:
    """In one round trip: meanwhile others wait."""
    await conn.execute(cast(LiteralString, "\n".join(script.text for script in scripts)))


async def apply_queues(conn: AsyncConnection[Any]) -> None:
    """Our pgmq, unless the schema is somebody else's: then only the views of our flows in it."""
    row = await (await conn.execute(GUEST)).fetchone()
    if row is None:
        await apply(conn, queue_functions())
    await conn.execute(QUEUES)


async def is_current(conn: AsyncConnection[Any]) -> bool:
    return (await read_schema(conn)).current


def pending(schema: Schema) -> list[Script]:
    """The migrations that this database lacks. Refuses a database that is not ours to change."""
    if schema.exists and not schema.ours:
        raise not_ours()
    if release(schema.library) > release(LIBRARY):
        raise SchemaError(
            f"this database was migrated by a newer Stepwell ({schema.library}; this is "
            f"{LIBRARY}): its functions are not taken back. Upgrade: pip install -U stepwell"
        )
    known = {script.name: script for script in migrations()}
    for name, checksum, _ in schema.migrations:
        if name not in known:
            raise SchemaError(
                f"this database was migrated by a newer Stepwell ({schema.library}; this is "
                f"{LIBRARY}): it has {name}. Upgrade the package: pip install -U stepwell"
            )
        if known[name].checksum != checksum:
            raise SchemaError(
                f"{name} is not the file that was applied to this database: a shipped migration "
                "never changes. Reinstall the package, or write a new migration"
            )
    return [script for name, script in known.items() if name not in schema.checksums]


def release(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: 0.10.2.dev1 is (0, 10, 2)."""
    return tuple(int(part) for part in re.findall(r"(?:^|\.)(\d+)(?=\.|$)", version))


def check(schema: Schema) -> None:
    """Refuse to work on a schema that this code does not fit, naming the command that helps. What
    is built beside the work may still be missing."""
    if not schema.exists:
        raise SchemaError("this database has no Stepwell schema yet: run `stepwell migrate`")
    if not schema.ours:
        raise not_ours()
    scripts = migrations()
    known = {script.name for script in scripts}
    needed = {script.name for script in scripts if not script.concurrent}
    if missing := needed - schema.checksums.keys():
        raise SchemaError(
            f"the schema of this database is older than this code (it lacks {min(missing)}): "
            "run `stepwell migrate`"
        )
    for name, _, breaking in schema.migrations:
        if name not in known and breaking:
            raise SchemaError(
                f"the schema of this database is too new for this code ({name}, made by Stepwell "
                f"{schema.library}; this is {LIBRARY}): pip install -U stepwell"
            )
    if schema.library == LIBRARY and schema.functions != functions_digest():
        raise SchemaError(
            "the functions of this database are not those of this code: run `stepwell migrate`"
        )
