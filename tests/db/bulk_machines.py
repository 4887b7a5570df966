"""A database where much waits: sleeping machines, jobs behind one saturated key, read signals."""

from __future__ import annotations

import json
from typing import Any

from stepwell.db.claim import Task
from stepwell.db.commit import Entry

from .hands import Hands
from .kinds import job, machine

SLEEPING = 100_000
BLOCKED = 100_000
FINISHED = 200_000
WAITING = 10_000

# what the planner believes changes when a test says so
PREPARE = """
alter table pgflow.runs set (autovacuum_enabled = off);
alter table pgflow.step_tasks set (autovacuum_enabled = off);
alter table pgflow.signals set (autovacuum_enabled = off);
alter table pgflow.joins set (autovacuum_enabled = off);
alter table pgflow.slots set (autovacuum_enabled = off);
create function public.run_of(family int, n bigint) returns uuid language sql immutable
return (lpad(to_hex(family), 8, '0') || lpad(to_hex(n), 24, '0'))::uuid;
"""
RUNS = """
insert into pgflow.runs (run_id, flow_slug, version_id, kind, status, input, state, key, key_guard,
  remaining_steps, completed_at, parent_run_id)
select public.run_of(%(family)s, n), f.flow_slug, f.version_id, f.kind, %(status)s, '{}', '{}',
  %(slug)s || n, case when %(live)s then %(slug)s || %(family)s || ' ' || n end, %(live)s::int,
  case when not %(live)s then now() end, %(parent)s
from pgflow.flows f, generate_series(1, %(runs)s) n where f.flow_slug = %(slug)s
"""
TASKS = """
insert into pgflow.step_tasks (flow_slug, run_id, step_slug, version_id, queue, stage, status,
  ready_at, awaits, waiting, concurrency_key, blocked_on, completed_at)
select f.flow_slug, public.run_of(%(family)s, n), %(step)s, f.version_id, f.flow_slug, %(stage)s,
  case when %(live)s then 'queued' else 'completed' end,
  now() + %(wait)s::interval + n * interval '1 s',
  %(awaits)s, %(awaits)s::text[] is not null, %(gate)s,
  case when %(stage)s = 'blocked' then %(gate)s end, case when not %(live)s then now() end
from pgflow.flows f, generate_series(1, %(runs)s) n where f.flow_slug = %(slug)s
"""
SIGNALS = """
insert into pgflow.signals (run_id, name, dedup_key, consumed_at)
select public.run_of(1, n), 'read', 'k' || n, now() from generate_series(1, %(runs)s) n
"""


def prepare(hands: Hands) -> None:
    hands.define(machine("order", "place", "ship"))
    hands.define(job("mail"))
    hands.conn.execute(PREPARE)


def fill(hands: Hands, share: float = 1.0) -> None:
    """`share` of what a full database has. The saturated key has its one slot taken."""
    rest: dict[str, Any] = {"parent": None, "awaits": None, "gate": None, "wait": "0", "live": True}
    parent = hands.start("order", {})[0]
    families: list[tuple[str, str, dict[str, Any]]] = [
        ("mail", "perform", {"family": 1, "runs": FINISHED, "stage": "closed", "live": False}),
        ("order", "ship", {"family": 2, "runs": SLEEPING, "stage": "delayed", "wait": "30 days"}),
        ("order", "ship", {"family": 3, "runs": WAITING, "stage": "parked", "awaits": ["paid"]}),
        ("mail", "perform", {"family": 4, "runs": BLOCKED, "stage": "blocked", "gate": "key/hot"}),
    ]
    for slug, step, values in families:
        given: dict[str, Any] = {**rest, **values, "slug": slug, "step": step}
        given |= {
            "runs": int(given["runs"] * share),
            "status": "started" if given["live"] else "completed",
            "parent": parent if given["family"] == 1 else None,
        }
        hands.conn.execute(RUNS, given)
        hands.conn.execute(TASKS, given)
    hands.conn.execute(SIGNALS, {"runs": int(FINISHED * share)})
    hold = Hands(hands.conn, lanes=hands.lanes)
    hold.register(lease=10**6)
    hands.conn.execute(
        "insert into pgflow.slots (gate, slot, message_id, claim_token, worker_id)"
        " values ('key/hot', 1, -1, -1, %s)",
        (hold.id,),
    )


def moved(task: Task, word: str, **move: Any) -> Entry:
    """An outcome of a machine's step."""
    said: dict[str, Any] = {"state": {"n": 1}, "handed": [], **move}
    return Entry(task.message_id, task.claim_token, word, json.dumps(said))
