"""Change tables while others use them: nobody waits for long behind one who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, LiteralString, TypeVar

from psycopg import AsyncConnection
from psycopg.errors import DeadlockDetected, LockNotAvailable

from stepwell.errors import SchemaError

Answer = TypeVar("Answer")

TRIES = 40
PAUSE = 1.0  # seconds in which those who queued behind a try get on
# who asks for the lock of a whole table stands before all who come later, so not for long
BRIEFLY: LiteralString = "set local lock_timeout = '500ms'"
TABLES: LiteralString = """
    select format('lock table %%s in access exclusive mode', string_agg(c.oid::regclass::text, ', '
      order by c.relname))
    from pg_class c
    where c.relnamespace = to_regnamespace('pgflow') and c.relkind = 'r' and c.relname = any (%s)
    having count(*) > 0
"""
HOLDERS: LiteralString = """
    select format('process %s (%s)', a.pid, concat_ws(', ', 'role ' || a.usename,
      nullif(a.application_name, ''), a.state, 'its transaction began ' || a.xact_start))
    from pg_stat_activity a
    where a.datname = current_database() and a.pid <> pg_backend_pid() and exists (
      select from pg_locks l join pg_class c on c.oid = l.relation
      where l.pid = a.pid and l.granted and c.relnamespace = to_regnamespace('pgflow'))
    order by a.xact_start limit 3
"""


async def patiently(work: Callable[[], Awaitable[Answer]], conn: AsyncConnection[Any]) -> Answer:
    """What it answers once nobody is in its way; it is all or nothing, so it may begin again."""
    for _ in range(TRIES - 1):
        try:
            return await work()
        except (LockNotAvailable, DeadlockDetected):
            await asyncio.sleep(PAUSE)
    try:
        return await work()
    except (LockNotAvailable, DeadlockDetected) as error:
        holders = await (await conn.execute(HOLDERS)).fetchall()
        said = f": {'; '.join(who for (who,) in holders)}" if holders else ""
        raise SchemaError(
            f"others had the tables of Stepwell in use at each of {TRIES} tries, so nothing was "
            f"changed{said}. End what is old (`stepwell doctor` lists it), then run "
            "`stepwell migrate` again; running workers may stay"
        ) from error


async def take(conn: AsyncConnection[Any], tables: Iterable[str]) -> None:
    """The locks of those that exist, all of them at first. Taken one by one, each as it is changed,
    they would meet those of workers in another order, and be in time for none."""
    for (lock,) in await (await conn.execute(TABLES, [sorted(tables)])).fetchall():
        await conn.execute(lock)
