"""Whether the schema is the one of this code, and who may use it."""

from __future__ import annotations

import re
from functools import cache

from psycopg.errors import InsufficientPrivilege

from stepwell.db.doctor.finding import Examination, Finding, name
from stepwell.db.migrate import (
    LIBRARY,
    Schema,
    functions,
    functions_digest,
    pending,
    queue_functions,
    read_schema,
)
from stepwell.errors import SchemaError

MIGRATE = "stepwell migrate"
FUNCTION = "create or replace function "
BODY = re.compile(r"((?:pgflow|pgmq)\.\w+)\s*\([^$]*? as (\$\w*\$)(.*?)\2", re.DOTALL)
USELESS = "workers and clients refuse to work with it, or fail"


async def schema(look: Examination) -> tuple[list[Finding], bool]:
    """Also whether our functions can be asked for the rest."""
    try:
        async with look.conn.transaction():
            found = await read_schema(look.conn)
    except InsufficientPrivilege:
        return [await no_rights_at_all(look)], False
    if problem := unusable(found):
        return [problem], False
    try:
        scripts = pending(found)
    except SchemaError as error:
        ahead = "newer" in str(error)
        code = "schema_ahead" if ahead else "migration_changed"
        what, _, remedy = str(error).rpartition(". ")
        return [Finding(code, "error", what, USELESS, (remedy,))], ahead
    if missing := [script.name for script in scripts if not script.concurrent]:
        what = f"the schema is behind this code: it lacks {', '.join(missing)}"
        return [Finding("schema_behind", "error", what, USELESS, (MIGRATE,))], False
    if not found.queues:
        what = "there is no schema pgmq: somebody dropped it"
        return [Finding("no_pgmq", "error", what, "queues of messages fail", (MIGRATE,))], True
    if found.functions != functions_digest():
        made = f", but those of {found.library}" if found.library != LIBRARY else ""
        what = f"the functions are not those of this code{made}"
        return [Finding("functions_differ", "error", what, USELESS, (MIGRATE,))], False
    return [], True


def unusable(found: Schema) -> Finding | None:
    if found.ours:
        return None
    if found.exists:
        return Finding(
            "foreign_schema",
            "error",
            "this database has a schema pgflow that Stepwell did not make",
            "ours has the same name: both cannot be here",
            ("use another database, or: alter schema pgflow rename to pgflow_before;",),
        )
    return Finding("no_schema", "error", "the schema is not there yet", USELESS, (MIGRATE,))


async def changed_functions(look: Examination) -> list[Finding]:
    """Bodies that are not what the files of this version say."""
    rows = await look.ask(
        "select n.nspname || '.' || p.proname as function, array_agg(p.prosrc) as bodies"
        " from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname = 'pgflow' or n.nspname = 'pgmq' and pgflow.owns_pgmq()"
        " group by 1"
    )
    there: dict[str, list[str]] = {row["function"]: row["bodies"] for row in rows}
    [mine] = await look.ask("select pgflow.owns_pgmq() as pgmq")
    changed: list[str] = []
    for function, bodies in written_bodies().items():
        if (function.startswith("pgflow.") or mine["pgmq"]) and not bodies <= set(
            there.get(function, [])
        ):
            changed.append(function)
    if not changed:
        return []
    return [
        Finding(
            "functions_changed",
            "error",
            f"{listed(sorted(changed))}: changed or dropped by hand",
            "the engine does not do what this version was tested to do",
            ("update pgflow.stepwell_schema set functions = 'again';", MIGRATE),
            {"functions": sorted(changed)},
        )
    ]


@cache
def written_bodies() -> dict[str, set[str]]:
    """As Postgres keeps them. What is written as `begin atomic` it keeps in another form."""
    found: dict[str, set[str]] = {}
    for script in [*functions(), *queue_functions()]:
        for text in script.text.split(FUNCTION)[1:]:
            if (written := BODY.match(text)) and "begin atomic" not in text[: written.start(3)]:
                found.setdefault(written[1], set()).add(written[3])
    return found


async def rights(look: Examination) -> list[Finding]:
    """Of this role, and of those whose workers and clients are connected."""
    rows = await look.ask(
        "with role as ("
        " select current_user::text as name, true as mine"
        " union select distinct usename::text, false from pg_stat_activity"
        " where datname = current_database() and application_name like 'stepwell %%'"
        " and usename <> current_user"
        ") select r.name as role, r.mine, array("
        " select 'usage on schema pgflow' where not has_schema_privilege(r.name, 'pgflow', 'usage')"
        " union all (select format('%%s on table pgflow.%%I', k, c.relname)"
        " from pg_class c, unnest(array['select', 'insert', 'update', 'delete']) k"
        " where c.relnamespace = 'pgflow'::regnamespace and c.relkind = 'r'"
        " and c.relname not like 'stepwell%%' and not has_table_privilege(r.name, c.oid, k)"
        " order by 1)"
        " union all (select format('usage on sequence pgflow.%%I', c.relname) from pg_class c"
        " where c.relnamespace = 'pgflow'::regnamespace and c.relkind = 'S'"
        " and not has_sequence_privilege(r.name, c.oid, 'usage') order by 1)"
        " union all (select format('execute on function pgflow.%%I', p.proname) from pg_proc p"
        " where p.pronamespace = 'pgflow'::regnamespace"
        " and not has_function_privilege(r.name, p.oid, 'execute') order by 1)) as lacks,"
        " (select bool_or(has_table_privilege(r.name, c.oid, 'insert')) from pg_class c"
        " where c.relnamespace = 'pgflow'::regnamespace and c.relkind = 'r') as writes"
        " from role r"
    )
    return [lacking(row["role"], row["lacks"], row["writes"]) for row in rows if row["lacks"]]


def lacking(role: str, lacks: list[str], writes: bool) -> Finding:
    who = name(role)
    grants = (
        f"grant usage on schema pgflow to {who};",
        f"grant select, insert, update, delete on all tables in schema pgflow to {who};",
        f"grant usage on all sequences in schema pgflow to {who};",
        f"grant execute on all functions in schema pgflow to {who};",
    )
    if not writes:
        return Finding(
            "reader",
            "info",
            f"role {who} may only read",
            "a worker or a client with this role would be refused",
            grants,
            {"role": role},
        )
    return Finding(
        "rights",
        "error",
        f"role {who} lacks {listed(lacks)}",
        "what a worker or a client does with it is refused",
        grants,
        {"role": role, "lacks": lacks},
    )


async def no_rights_at_all(look: Examination) -> Finding:
    [row] = await look.ask("select current_user::text as role")
    return lacking(row["role"], ["usage on schema pgflow"], True)


def listed(words: list[str], most: int = 5) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
