"""A database with years behind it: a million finished tasks beside a little work."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext

import psycopg
from psycopg import sql

from stepwell.db.claim import release_held
from tests.servers import DatabaseServer, run_id

from .hands import Hands
from .shapes import chain, flow, single, spread, step

FINISHED = 1_000_000
DELAYED = 100_000
DUE = 1_000
RUNNING = 200
WORKERS = 20
READY = 2_000
BIG = {"runs", "step_states", "step_tasks", "attempts"}
TRICKY = flow(
    "tricky",
    step("list"),
    step("each", "list", map=True),
    step("after", "each"),
    step("picky", "list", required={"list": {"never": 1}}, unmet="skip-cascade"),
    step("below", "picky", "after"),
    step("weak", "list", exhausted="skip-cascade", maxAttempts=1),
    step("under", "weak"),
)
KEY = "alter table pgflow.step_tasks"
NAME = "step_tasks_pkey"
COLUMNS = "(run_id, step_slug, task_index)"
OLD = flow("old", step("each", map=True))

# what the planner believes changes when a test says so
PREPARE = """
alter table pgflow.runs set (autovacuum_enabled = off);
alter table pgflow.step_states set (autovacuum_enabled = off);
alter table pgflow.step_tasks set (autovacuum_enabled = off);
alter table pgflow.attempts set (autovacuum_enabled = off);
alter table pgflow.workers set (autovacuum_enabled = off);
create function public.run_of(family int, n bigint) returns uuid language sql immutable
return (lpad(to_hex(family), 8, '0') || lpad(to_hex(n), 24, '0'))::uuid;
"""
RUNS = """
insert into pgflow.runs (
  run_id, flow_slug, version_id, status, input, remaining_steps, key, key_guard, completed_at)
select public.run_of(%(family)s, n), 'old', %(version)s, %(status)s, '[]', %(open)s,
  'old ' || %(family)s || ' ' || n, 'old ' || %(family)s || ' ' || n,
  case when %(open)s = 0 then now() end
from generate_series(1, %(runs)s) n
"""
STEPS = """
insert into pgflow.step_states (
  flow_slug, run_id, step_slug, status, initial_tasks, remaining_tasks, started_at, completed_at)
select 'old', public.run_of(%(family)s, n), 'each', %(status)s, %(tasks)s,
  case when %(open)s = 0 then 0 else %(tasks)s end, now(), case when %(open)s = 0 then now() end
from generate_series(1, %(runs)s) n
"""
TASKS = """
insert into pgflow.step_tasks (
  flow_slug, run_id, step_slug, task_index, version_id, queue, stage, status, ready_at, output,
  completed_at)
select 'old', public.run_of(%(family)s, n), 'each', i, %(version)s, 'old', %(stage)s,
  %(task_status)s, now() + make_interval(secs => %(first)s + n * %(tasks)s + i),
  case when %(open)s = 0 then '1'::jsonb end, case when %(open)s = 0 then now() end
from generate_series(1, %(runs)s) n, generate_series(0, %(tasks)s - 1) i
"""
ATTEMPTS = """
insert into pgflow.attempts (
  run_id, step_slug, task_index, attempt, error_type, error_message, failed_at)
select public.run_of(1, n), 'each', 0, 1, 'ValueError', 'boom', now()
from generate_series(1, %(runs)s) n
"""


def template(server: DatabaseServer) -> str:
    """The name of the database to clone; the first process that asks makes it."""
    name = f"bulk_{run_id()}"
    with psycopg.connect(server.maintenance, autocommit=True) as admin:
        admin.execute("select pg_advisory_lock(hashtext('stepwell tests: bulk'))")
        made = admin.execute("select 1 from pg_database where datname = %s", [name])
        if made.fetchone() is None:
            quoted = sql.Identifier
            admin.execute(
                sql.SQL("create database {} template {} strategy file_copy").format(
                    quoted(name), quoted(server.template)
                )
            )
            with psycopg.connect(server.dsn(name), autocommit=True) as conn:
                hands = Hands(conn)
                prepare(hands)
                conn.execute("analyze")  # for the last time
                fill(hands)
    return name


def prepare(hands: Hands) -> None:
    """The flows and one run: the first day."""
    for shape in (single("one"), chain("chain"), spread("spread"), TRICKY):
        hands.define(shape)
    Hands(hands.conn).define(OLD)
    hands.start("one", 1)
    hands.conn.execute(PREPARE)


def fill(hands: Hands, finished: int = FINISHED, delayed: int = DELAYED) -> None:
    """What is finished and delayed is of the flow `old`; what is ready and running, of `one`."""
    version = hands.value("select version_id from pgflow.flows where flow_slug = 'old'")
    done = {"version": version, "status": "completed", "open": 0, "task_status": "completed"}
    live = {"version": version, "status": "started", "open": 1, "task_status": "queued"}
    with without_indexes(hands) if finished == FINISHED else nullcontext():
        insert(hands, done, family=1, runs=finished // 10, tasks=10, stage="closed", first=-(10**7))
    insert(hands, live, family=2, runs=delayed // 1000, tasks=1000, stage="delayed", first=3600)
    insert(hands, live, family=3, runs=DUE // 100, tasks=100, stage="delayed", first=-(10**4))
    hands.conn.execute(ATTEMPTS, {"runs": finished // 10})
    hands.start("one", *range(READY))
    for _ in range(WORKERS):
        other = Hands(hands.conn, lanes=hands.lanes)
        other.register(lease=10**6)
        other.claim(RUNNING // WORKERS)


def lap(hands: Hands) -> None:
    """Every call of the hot path once and again, so that its plans are made here and now."""
    for turn in range(3):
        other = Hands(hands.conn, lanes=hands.lanes)
        other.register()
        chains = [hands.start(slug, turn, keys=[f"{slug} {turn}"])[0] for slug in ("chain", "one")]
        hands.start("one", turn, keys=[f"one {turn}"])
        hands.start("spread", turn, turn)
        other.release(other.claim(2))
        claimed = other.claim(1)
        release_held(other.id, [task.claim_token for task in claimed]).on_sync(hands.conn)
        hands.complete(hands.claim(4), [1, 2, 3], want=1)
        hands.fail(hands.claim(1))
        hands.fail(hands.claim(1), permanent=True)
        other.claim(1)
        for sweep in (hands.promote, hands.beat, other.lost, hands.reclaim, other.leave):
            sweep()
        hands.conn.execute("update pgflow.flows set opt_max_crashes = 0")
        other.claim(1)
        hands.reclaim()
        hands.conn.execute("update pgflow.flows set opt_max_crashes = 3")
        hands.drain([1, 2])
        for output in ([], [1], 5):
            hands.start("tricky", turn)
            hands.complete(hands.claim(1), output)
            hands.fail(hands.claim(1))
        hands.cancel(chains[0])
        hands.retry(chains[0])
        hands.drain([1, 2])


@contextmanager
def without_indexes(hands: Hands) -> Generator[None]:
    """They are built at the end, in half the time; what the planner believes stays as it was."""
    indexes = hands.rows(
        "select format('drop index pgflow.%%I', indexname), indexdef from pg_indexes"
        " where tablename = 'step_tasks' and indexname <> 'step_tasks_pkey'"
    )
    believed = hands.rows("select relname, reltuples, relpages from pg_class where relpages < 50")
    indexes += [
        (f"{KEY} drop constraint {NAME}", f"{KEY} add constraint {NAME} primary key {COLUMNS}")
    ]
    for drop, _ in indexes:
        hands.conn.execute(drop)
    yield
    for _, create in indexes:
        hands.conn.execute(create)
    hands.conn.cursor().executemany(
        "update pg_class set reltuples = %s, relpages = %s where oid = %s::regclass",
        [(tuples, pages, f"pgflow.{name}") for name, tuples, pages in believed if name in BIG],
    )


def insert(hands: Hands, common: Mapping[str, object], **rest: object) -> None:
    for statement in (RUNS, STEPS, TASKS):
        hands.conn.execute(statement, {**common, **rest})
