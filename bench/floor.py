"""The floor: bare SQL that claims and completes the same rows in batches, and does nothing else.

No steps, no attempts, no fencing on the way out, no output assembled: what two statements a batch
cost on these tables with these indexes. One connection from a plain loop.
"""

from __future__ import annotations

import time
from typing import Any

from psycopg import Connection

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


def drain(conn: Connection[Any], queue: str, version_id: int, batch: int) -> float:
    """Seconds to claim and complete every ready task of a queue."""
    began = time.perf_counter()
    while True:
        rows = conn.execute(CLAIM, (queue, version_id, batch)).fetchall()
        if not rows:
            return time.perf_counter() - began
        conn.execute(COMPLETE, ([row[0] for row in rows],))
