"""What a benchmark asks of a database of its own: runs that are ready, how long they took, and the
floor: bare SQL that claims and completes the same rows in batches, and does nothing else.

The floor has no steps, no attempts, no fencing on the way out, no output assembled: it is what two
statements a batch cost on these tables with these indexes. One connection from a plain loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.conninfo import make_conninfo

from stepwell.db.databases import DROP, NEW, aside, connected, migrated, named, source_of

CLAIM = """
    with picked as (
      select message_id from pgflow.step_tasks
      where queue = %s and version_id = %s and stage = 'ready' and fairness_key = ''
      order by queue, version_id, fairness_key, priority, ready_at, message_id
      limit %s for update skip locked)
    update pgflow.step_tasks t
    set stage = 'running', status = 'started', claim_token = nextval('pgflow.claim_tokens'),
        attempts_count = 1, started_at = clock_timestamp()
    from picked p where t.message_id = p.message_id
    returning t.message_id
"""
COMPLETE = """
    with done as (
      update pgflow.step_tasks
      set stage = 'closed', status = 'completed', claim_token = null, output = '{"ok": true}',
          completed_at = clock_timestamp()
      where message_id = any (%s)
      returning run_id)
    update pgflow.runs r
    set status = 'completed', completed_at = clock_timestamp(), output = '{"ok": true}',
        remaining_steps = 0
    from done d where r.run_id = d.run_id
"""
EMPTY = """
    truncate pgflow.runs, pgflow.step_states, pgflow.step_tasks, pgflow.attempts, pgflow.slots,
      pgflow.buckets
"""
START = """
    select count(*) from pgflow.start_runs(%s, array_fill(%s::jsonb, array[%s::int]),
      options => case when %s::text is not null then array(
        select jsonb_build_object('concurrency', %s::text || n %% 100)
        from generate_series(1, %s) n) end)
"""
ANALYZE = "analyze pgflow.runs, pgflow.step_states, pgflow.step_tasks"
VERSION = "select version_id from pgflow.flows where flow_slug = %s"
LEFT = "select exists (select from pgflow.runs where status = 'started')"
SPAN = """
    select extract(epoch from max(r.completed_at)
      - (select min(t.started_at) from pgflow.step_tasks t)) from pgflow.runs r
"""


@contextmanager
def scratch(dsn: str) -> Generator[str]:
    """The address of a new database on the same server, with the schema, dropped afterwards."""
    name = f"stepwell_bench_{uuid4().hex[:12]}"
    with connected(dsn) as conn:
        conn.execute(named(NEW, name, source_of(conn)))
        try:
            fresh = make_conninfo(dsn, dbname=name)
            aside(lambda at: asyncio.run(migrated(at)), fresh)
            yield fresh
        finally:
            conn.execute(named(DROP, name))


def preload(
    conn: Connection[Any], flow: str, runs: int, value: str, option: str | None = None
) -> int:
    """Only these runs in the tables, ready: the same start for every drain. The version's id."""
    conn.execute(EMPTY)
    conn.execute(START, (flow, value, runs, option, option, runs))
    conn.execute(ANALYZE)
    row = conn.execute(VERSION, (flow,)).fetchone()
    assert row is not None
    return row[0]


def drain(conn: Connection[Any], queue: str, version_id: int, batch: int) -> float:
    """Seconds to claim and complete every ready task of a queue."""
    began = time.perf_counter()
    while True:
        rows = conn.execute(CLAIM, (queue, version_id, batch)).fetchall()
        if not rows:
            return time.perf_counter() - began
        conn.execute(COMPLETE, ([row[0] for row in rows],))


def all_ended(conn: Connection[Any]) -> bool:
    row = conn.execute(LEFT).fetchone()
    return row is None or not row[0]


def span(conn: Connection[Any]) -> float:
    """From the first claim to the last outcome, by the server's clock: no start-up in it."""
    row = conn.execute(SPAN).fetchone()
    assert row is not None
    return float(row[0])
