"""The whole schema as one SQL script, for those who apply migrations with a tool of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from psycopg.sql import SQL, Literal

from stepwell.db.files import Script
from stepwell.db.migrate import (
    GUEST,
    LEDGER,
    LIBRARY,
    QUEUES,
    functions,
    functions_digest,
    migrations,
    queue_functions,
)

HEAD = f"""\
-- The schema of Stepwell {LIBRARY}, for a database that has none of it; one transaction.
-- Later versions: `stepwell migrate`, which goes on from here.
begin;
set local client_min_messages = warning;
"""
REFUSE = """\
do $$ begin
  if to_regclass('pgflow.stepwell_migrations') is not null then
    raise exception 'this database has a Stepwell schema already: run `stepwell migrate`';
  end if;
end $$;
"""
APPLIED = SQL(
    "insert into pgflow.stepwell_migrations (name, checksum, breaking) values ({}, {}, {});\n"
)
IF_OURS = """\
do $do$ begin
  if not exists ({guest}) then
    execute {quoted};
  end if;
end $do$;
"""
STAMP = SQL("insert into pgflow.stepwell_schema (library, functions) values ({}, {});\n")


def dump() -> str:
    """What `migrate` does to an empty database, so that it finds nothing left to do."""
    return "\n".join(parts())


def parts() -> Iterator[str]:
    yield from (HEAD, REFUSE, LEDGER)
    for script in migrations():
        yield script.plain
        facts = map(Literal, (script.name, script.checksum, script.breaking))
        yield APPLIED.format(*facts).as_string(None)
    yield "set local check_function_bodies = off;\n"
    yield from (script.text for script in functions())
    yield unless_somebodys(queue_functions())
    yield f"{QUEUES};\n"
    yield STAMP.format(Literal(LIBRARY), Literal(functions_digest())).as_string(None)
    yield "commit;"


def unless_somebodys(scripts: list[Script]) -> str:
    """Our pgmq, but not where the schema is another's."""
    text = "\n".join(script.text for script in scripts)
    tag = next(tag for tag in (f"$pgmq{n or ''}$" for n in itertools.count()) if tag not in text)
    return IF_OURS.format(guest=GUEST, quoted=f"{tag}\n{text}{tag}")
