"""Whether our tables and indexes are as migrations made them, and in shape."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from stepwell.db.build import Step, steps_left
from stepwell.db.doctor.finding import Examination, Finding, size
from stepwell.db.migrate import migrations, to_build
from stepwell.db.progress import under_way

INDEX = re.compile(
    r"create (?:unique )?index (\w+) on pgflow\.\w+[^;]*;|drop index (?:if exists )?pgflow\.(\w+)"
)
MIGRATE = "stepwell migrate"
KEY = re.compile(r"constraint (\w+) (primary key|unique) (\([^)]*\))")
TABLE = re.compile(r"(?:create|alter) table pgflow\.(\w+)(.*?);", re.DOTALL)
GROWING = {  # what to do about tables that no sweep keeps short
    "audit": "start a worker: each forgets rows that are older than `audit_retention` says",
    "dead_letters": "stepwell queues forget QUEUE --all",
    "runs": "stepwell prune --older-than 30d; and see `retention`",
    "step_tasks": "stepwell prune --older-than 30d; and see `retention`",
    "step_states": "stepwell prune --older-than 30d; and see `retention`",
    "attempts": "stepwell prune --older-than 30d; and see `retention`",
    "signals": "stepwell prune --older-than 30d; and see `retention`",
    "events": "start a worker: each forgets events that are older than ten minutes",
}


@cache
def expected() -> dict[str, str]:
    """The indexes that all migrations together make, each with the SQL that makes it again."""
    made: dict[str, str] = {}
    for script in migrations():
        text = re.sub(r"--.*", "", script.plain)
        for table, body in TABLE.findall(text):
            for key, kind, columns in KEY.findall(body):
                made[key] = f"alter table pgflow.{table} add constraint {key} {kind} {columns};"
        for found in INDEX.finditer(text):
            index, dropped = found.groups()
            if dropped:
                made.pop(dropped, None)
            else:
                made[index] = " ".join(found[0].split()).replace(
                    " index ", " index concurrently ", 1
                )
    return made


async def indexes(look: Examination) -> list[Finding]:
    rows = await look.ask(
        "select c.relname as index, t.relname as table, x.indisvalid and x.indisready as valid,"
        " pg_relation_size(c.oid)::float8 as bytes, greatest(c.reltuples, 0)::float8 as rows"
        " from pg_index x join pg_class c on c.oid = x.indexrelid"
        " join pg_class t on t.oid = x.indrelid where c.relnamespace = 'pgflow'::regnamespace"
    )
    left = await steps_left(look.conn, await to_build(look.conn))
    ours = {step.name for step in left}
    found = [await unbuilt(look, left)] if left else []
    found += missing(expected(), {row["index"] for row in rows} | ours)
    for row in rows:
        if row["index"] in ours:
            continue  # `unbuilt` said it
        again = f"reindex index concurrently pgflow.{row['index']};"
        if not row["valid"]:
            found.append(
                Finding(
                    "invalid_index",
                    "error",
                    f"index {row['index']} of {row['table']} is not valid",
                    "no query uses it, and every write pays for it: building it was cut off",
                    (
                        again
                        if row["index"] in expected()
                        else f"drop index pgflow.{row['index']};",
                    ),
                    row,
                )
            )
        elif row["bytes"] > max(look.thresholds.index_bytes, 1000 * row["rows"]):
            found.append(
                Finding(
                    "bloated_index",
                    "warning",
                    f"index {row['index']} takes {size(row['bytes'])} for {row['rows']:.0f} rows",
                    "claims read through pages that are nearly empty",
                    (again, "see what held back vacuum, above"),
                    row,
                )
            )
    return found


async def unbuilt(look: Examination, left: list[Step]) -> Finding:
    """What a migration does beside the work, and has not done."""
    now = await under_way(look.conn)
    said = f"; {'; '.join(now)}" if now else ""
    return Finding(
        "unbuilt",
        "info" if now else "warning",
        f"a migration is not at its end: {', '.join(map(str, left))}{said}",
        "workers need none of it, but lists of runs and metrics read more than they would",
        () if now else (MIGRATE,),
        {"left": [str(step) for step in left], "now": now},
    )


def missing(wanted: dict[str, str], there: Iterable[str]) -> Iterable[Finding]:
    for index in sorted(wanted.keys() - set(there)):
        yield Finding(
            "missing_index",
            "error",
            f"index {index} is missing",
            "what it served now reads whole tables; a key lets rows in twice",
            (wanted[index],),
            {"index": index},
        )


async def tables(look: Examination) -> list[Finding]:
    limits = look.thresholds
    rows = await look.ask(
        "select c.relname as table, c.relpersistence = 'u' as unlogged,"
        " coalesce('autovacuum_enabled=false' = any (c.reloptions)"
        " or 'autovacuum_enabled=off' = any (c.reloptions), false) as unvacuumed,"
        " greatest(c.reltuples, 0)::float8 as rows, coalesce(s.n_live_tup, 0)::int8 as live,"
        " coalesce(s.n_dead_tup, 0)::int8 as dead, s.last_autovacuum"
        " from pg_class c left join pg_stat_user_tables s on s.relid = c.oid"
        " where c.relnamespace = 'pgflow'::regnamespace and c.relkind = 'r' order by 1"
    )
    found: list[Finding] = []
    for row in rows:
        table = row["table"]
        if row["unlogged"]:
            found.append(
                Finding(
                    "unlogged_table",
                    "error",
                    f"table {table} is unlogged",
                    "a crash of the server empties it, and a standby has nothing of it",
                    (f"alter table pgflow.{table} set logged;",),
                )
            )
        if row["unvacuumed"]:
            found.append(
                Finding(
                    "autovacuum_off",
                    "error",
                    f"autovacuum is off for table {table}",
                    "each task leaves dead rows; claims get slower without end",
                    (f"alter table pgflow.{table} reset (autovacuum_enabled);",),
                )
            )
        if row["dead"] > max(limits.dead_tuples, row["live"]):
            found.append(
                Finding(
                    "dead_rows",
                    "warning",
                    f"table {table} has {row['dead']} dead rows beside {row['live']} live ones",
                    "vacuum does not keep up, or something holds it back",
                    (f"vacuum (verbose, analyze) pgflow.{table};",),
                    {name: row[name] for name in ("live", "dead", "last_autovacuum")},
                )
            )
        if row["rows"] > limits.table_rows and table in GROWING:
            found.append(
                Finding(
                    "overgrown_table",
                    "warning",
                    f"table {table} has about {row['rows']:.0f} rows",
                    "claims do not get slower by it, but lists, backups and vacuum do",
                    (GROWING[table],),
                )
            )
    return found
