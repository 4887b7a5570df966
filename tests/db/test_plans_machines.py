"""What waits costs nothing: no call looks at sleeping, parked or blocked work, or at what ended.

The database has 100,000 sleeping machines and 100,000 jobs behind one saturated key. What each call
did inside is read from its executed plans, with true statistics, with those of an empty database,
and with plans that were made in one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from stepwell.db.start import start_runs
from tests.servers import DatabaseServer, run_id

from .bulk_machines import fill, moved, prepare
from .explain import explained
from .hands import Connection, Hands

pytestmark = pytest.mark.timeout(240)
BIG = {"runs", "step_tasks", "signals", "joins", "attempts"}
ROWS = 10  # rows of a big table that one scan may look at, for each entry of a batch
BUFFERS = 300
FLOOR = 700


def send(hands: Hands, key: str, name: str = "paid") -> None:
    hands.conn.execute("select * from pgflow.send_signal(null, %s, %s, '1', null)", (key, name))


def enqueue(hands: Hands, count: int, slug: str = "mail", **option: Any) -> None:
    ids = [hands.value("select gen_random_uuid()") for _ in range(count)]
    options = [json.dumps(option)] * count if option else None
    hands.conn.execute(
        "select * from pgflow.start_runs(%s, %s::text[]::jsonb[], %s::uuid[], null, null,"
        " %s::text[]::jsonb[])",
        (slug, ["{}"] * count, ids, options),
    )


def lap(hands: Hands) -> None:
    """Every call of the hot path, so that its plans are made here and now."""
    for turn in range(3):
        enqueue(hands, 2, concurrency="key/lap")
        enqueue(hands, 2)
        hands.start("order", {}, keys=[f"lap {turn}"])
        tasks = hands.claim(10)
        for task in tasks:
            if task.kind == "job":
                hands.complete([task], 1, want=1)
            else:
                hands.commit(
                    [moved(task, "await", step="ship", names=["paid"], timeout=60)], want=1
                )
        send(hands, f"lap {turn}")
        for task in hands.claim(5):
            word = moved(task, "done", result=1) if task.kind == "machine" else None
            hands.commit([word]) if word else hands.complete([task], 1)
        hands.promote()
        hands.reclaim()
        hands.drain(1)


@contextmanager
def first_statistics(server: DatabaseServer) -> Generator[Connection]:
    name = f"waiting_{run_id()}"
    with psycopg.connect(server.maintenance, autocommit=True) as admin:
        admin.execute("select pg_advisory_lock(hashtext('stepwell tests: waiting'))")
        if not admin.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
            quoted = sql.Identifier
            admin.execute(
                sql.SQL("create database {} template {}").format(
                    quoted(name), quoted(server.template)
                )
            )
            with psycopg.connect(server.dsn(name), autocommit=True) as conn:
                hands = Hands(conn)
                prepare(hands)
                conn.execute("analyze")
                fill(hands)
    with server.database(name) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


@contextmanager
def true_statistics(server: DatabaseServer) -> Generator[Connection]:
    with first_statistics(server) as conn:
        conn.execute("vacuum analyze")
        yield conn


@contextmanager
def first_plans(server: DatabaseServer) -> Generator[Connection]:
    with server.database(server.template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        prepare(hands)
        hands.register()
        lap(hands)
        with psycopg.connect(dsn, autocommit=True) as other:
            fill(Hands(other, lanes=hands.lanes), share=0.1)
        yield conn


@pytest.fixture(scope="module", params=[true_statistics, first_statistics, first_plans])
def waiting_conn(request: pytest.FixtureRequest, server: DatabaseServer) -> Iterator[Connection]:
    with request.param(server) as conn:
        yield conn


@pytest.fixture
def waiting(waiting_conn: Connection) -> Iterator[Hands]:
    """What a test does here is undone after it."""
    hands = Hands(waiting_conn)
    rows = hands.rows("select flow_slug, version_id from pgflow.flows")
    hands.lanes = [(str(slug), int(version)) for slug, version in rows]
    with waiting_conn.transaction(force_rollback=True):
        hands.register()
        hands.claim(10)  # the parent of the finished
        yield hands


def check(hands: Hands, name: str, batch: int, *calls: Callable[[], Any]) -> None:
    """The first calls make the plans; the last is looked at."""
    for call in calls[:-1]:
        call()
    statements = explained(hands.conn, calls[-1])
    assert statements
    large = [
        (scan, " ".join(statement.text.split())[:300])
        for statement in statements
        for scan in statement.scans
        if scan.table in BIG and (scan.kind == "Seq Scan" or scan.rows > ROWS * batch + 10)
    ]
    assert not large, "\n".join(f"{name} {batch}: {scan} in {text}" for scan, text in large)
    buffers = max(statement.buffers for statement in statements)
    print(f"{name:24} {batch:4} {len(statements):3} statements {buffers:6} pages")
    assert buffers <= FLOOR + BUFFERS * batch


BATCHES = [1, 100]


def child(hands: Hands) -> dict[str, str]:
    return {"id": str(hands.value("select gen_random_uuid()")), "slug": "mail"}


@pytest.mark.parametrize("batch", BATCHES)
def test_a_claim_and_a_commit_of_jobs_read_what_they_take(waiting: Hands, batch: int) -> None:
    enqueue(waiting, 3 * batch)
    one, two = waiting.claim(batch), waiting.claim(batch)
    assert len(two) == batch
    check(
        waiting,
        "jobs",
        batch,
        lambda: waiting.complete(one, 1, want=batch),
        lambda: waiting.complete(two, 1, want=batch),
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("word", ["next", "await", "retry", "done", "stop", "spawn"])
def test_a_move_of_machines_reads_what_it_writes(waiting: Hands, word: str, batch: int) -> None:
    waiting.start("order", *[{}] * 2 * batch)
    one, two = waiting.claim(batch), waiting.claim(batch)
    assert len(two) == batch

    def move(tasks: list[Any]) -> Any:
        return [
            moved(task, word, step="ship", names=["paid"], timeout=9, children=[child(waiting)])
            for task in tasks
        ]

    first, second = move(one), move(two)
    check(
        waiting,
        word,
        batch * 3,
        lambda: waiting.commit(first, want=batch),
        lambda: waiting.commit(second, want=batch),
    )


def test_the_last_child_reads_its_join(waiting: Hands) -> None:
    waiting.start("order", {}, {})
    for task in waiting.claim(2):
        kids = [child(waiting) for _ in range(3)]
        waiting.commit([moved(task, "spawn", step="ship", children=kids)])
    kids = waiting.claim(6)
    check(
        waiting,
        "children",
        3,
        lambda: waiting.complete(kids[:3], 1, want=1),
        lambda: waiting.complete(kids[3:], 1, want=1),
    )


def test_a_signal_reads_its_run(waiting: Hands) -> None:
    keys = [f"k{n}" for n in range(2)]
    waiting.start("order", {}, {}, keys=keys)
    for task in waiting.claim(2):
        waiting.commit([moved(task, "await", step="ship", names=["paid"])])
    check(waiting, "signal", 1, lambda: send(waiting, "k0"), lambda: send(waiting, "k1"))


@pytest.mark.parametrize("batch", BATCHES)
def test_a_claim_of_keyed_jobs_reads_what_it_looks_at(waiting: Hands, batch: int) -> None:
    """Half of them find their key taken, by the other half."""
    for n in range(4 * batch):
        enqueue(waiting, 1, concurrency=f"key/{n // 2}")
    check(
        waiting,
        "keyed claim",
        4 * batch,
        lambda: waiting.claim(batch),
        lambda: waiting.claim(batch),
    )


def test_freeing_a_saturated_key_reads_the_head_of_its_line(waiting: Hands) -> None:
    free = "select pgflow.free_slots(array[-1])"
    seat = (
        "insert into pgflow.slots (gate, slot, message_id, claim_token)"
        " values ('key/hot', 1, -1, -1)"
    )

    def turn() -> None:
        waiting.conn.execute(free)

    turn()
    waiting.conn.execute(seat)
    check(waiting, "free", 1, turn)


@pytest.mark.parametrize("batch", BATCHES)
def test_an_enqueue_reads_what_it_inserts(waiting: Hands, batch: int) -> None:
    def start(keys: list[str | None]) -> None:
        ids = [waiting.value("select gen_random_uuid()") for _ in keys]
        start_runs("mail", ["{}"] * len(keys), ids, keys).on_sync(waiting.conn)

    check(
        waiting,
        "enqueue",
        batch,
        lambda: start([None] * batch),
        lambda: start([f"new {n}" for n in range(batch)]),
    )


SWEEPS: list[LiteralString] = ["promote_tasks()", "reclaim_tasks()", "wake_stuck()"]


@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_reads_what_is_due(waiting: Hands, sweep: LiteralString) -> None:
    def call() -> None:
        waiting.conn.execute(sql.SQL("select * from pgflow.") + sql.SQL(sweep))

    check(waiting, sweep, 1, call, call)


def test_a_claim_takes_as_long_as_with_nothing_that_waits(
    waiting: Hands, server: DatabaseServer
) -> None:
    """Side by side, in turn, in the same minute."""
    with server.database(server.template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        empty = Hands(conn)
        prepare(empty)
        with conn.transaction():
            empty.register()
            seconds: dict[str, list[float]] = {"waiting": [], "empty": []}
            for _ in range(30):
                for name, hands in (("waiting", waiting), ("empty", empty)):
                    enqueue(hands, 50)
                    began = time.perf_counter()
                    tasks = hands.claim(50)
                    seconds[name].append(time.perf_counter() - began)
                    assert len(tasks) == 50
                    hands.complete(tasks, 1)
        much, nothing = median(seconds["waiting"]), median(seconds["empty"])
        print(f"claim of 50: {much * 1000:.2f} ms, with nothing waiting {nothing * 1000:.2f} ms")
        assert much < 2 * nothing
