"""How far the building of our indexes is."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

WHO: LiteralString = """
    concat_ws(', ', 'role ' || a.usename, nullif(a.application_name, ''), a.state,
      'its transaction began ' || to_char(a.xact_start, 'YYYY-MM-DD HH24:MI:SS'))
"""
NOW: LiteralString = f"""
    select coalesce(i.relname, ''), t.relname, p.phase, p.blocks_done, p.blocks_total,
      p.tuples_done, p.tuples_total, p.current_locker_pid,
      (select {WHO} from pg_stat_activity a where a.pid = p.current_locker_pid)
    from pg_stat_progress_create_index p
    join pg_class t on t.oid = p.relid and t.relnamespace = to_regnamespace('pgflow')
    left join pg_class i on i.oid = p.index_relid
    where p.datname = current_database() and p.pid <> pg_backend_pid()
    order by p.pid
"""  # noqa: S608
BLOCKER: LiteralString = f"""
    select a.pid, {WHO} from pg_stat_activity a where a.pid = any (pg_blocking_pids(%s))
    order by a.xact_start limit 1
"""  # noqa: S608
PARTS = {  # of the whole, in hundredths: from and to
    "building index: scanning table": (0, 45),
    "building index: sorting live tuples": (45, 45),
    "building index: sorting dead tuples": (45, 45),
    "building index: loading tuples in tree": (45, 55),
    "waiting for writers before validation": (55, 55),
    "index validation: scanning index": (55, 60),
    "index validation: sorting tuples": (60, 60),
    "index validation: scanning table": (60, 99),
    "waiting for old snapshots": (99, 99),
}


async def under_way(conn: AsyncConnection[Any]) -> list[str]:
    """A line for each index of ours that is being built."""
    return [sentence(*row) for row in await (await conn.execute(NOW)).fetchall()]


async def of_index(conn: AsyncConnection[Any], index: str) -> str | None:
    """The line of this one."""
    rows = await (await conn.execute(NOW)).fetchall()
    return next((sentence(*row) for row in rows if row[0] == index), None)


async def blocker(conn: AsyncConnection[Any], pid: int) -> str | None:
    """For whom this backend waits, if it does."""
    row = await (await conn.execute(BLOCKER, [pid])).fetchone()
    return row and waits(*row)


def waits(pid: int, who: str) -> str:
    return f"waits for process {pid} ({who})"


def sentence(
    index: str,
    table: str,
    phase: str,
    blocks_done: int,
    blocks_total: int,
    tuples_done: int,
    tuples_total: int,
    locker: int,
    holder: str | None,
) -> str:
    done, total = (tuples_done, tuples_total) if "loading" in phase else (blocks_done, blocks_total)
    said = f"building index {index or 'of ' + table}: {percent(phase, done, total)}%"
    if locker and holder:
        said += f", {waits(locker, holder)}"
    return said


def percent(phase: str, done: int, total: int) -> int:
    """Of the whole, as far as one can tell: the table is read twice, and all else is little."""
    first, last = PARTS.get(phase, (0, 0))
    return first + round((last - first) * min(done / total, 1)) if total else first
