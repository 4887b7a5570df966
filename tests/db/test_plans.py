"""No call of the hot path grows with what is finished, delayed or running elsewhere.

Each call is made on a database with a million finished tasks, once with true statistics and once
with those of its first day; what it did inside is read from the plans that were executed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

import psycopg
import pytest

from stepwell.db.call import Call
from stepwell.db.claim import release_held
from stepwell.db.doctor import ask
from stepwell.db.explain import explain_run
from stepwell.db.maintain import promote_tasks
from tests.chaos.foreign import ForeignWorker, Message
from tests.servers import DatabaseServer

from .bulk import BIG, READY, RUNNING, fill, lap, prepare, template
from .explain import Statement, explained
from .hands import Connection, Hands
from .shapes import single, spread

pytestmark = pytest.mark.timeout(240)
BATCHES = [1, 10, 100]
ROWS = 8  # rows of a big table that one scan may look at, for each entry of a batch
BUFFERS = 300  # pages for each entry of a batch, whatever the size of the database
FLOOR = 600  # pages for the call itself


@contextmanager
def first_statistics(server: DatabaseServer) -> Generator[Connection]:
    with (
        server.database(template(server)) as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        yield conn


@contextmanager
def true_statistics(server: DatabaseServer) -> Generator[Connection]:
    with first_statistics(server) as conn:
        conn.execute("vacuum analyze")
        yield conn


@contextmanager
def first_plans(server: DatabaseServer) -> Generator[Connection]:
    """A connection that made its plans in an empty database, which then grew."""
    with server.database(server.template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        prepare(hands)
        lap(hands)
        with psycopg.connect(dsn, autocommit=True) as other:
            fill(Hands(other, lanes=hands.lanes), finished=20_000, delayed=2_000)
        yield conn


@pytest.fixture(scope="module", params=[true_statistics, first_statistics, first_plans])
def bulk_conn(request: pytest.FixtureRequest, server: DatabaseServer) -> Iterator[Connection]:
    with request.param(server) as conn:
        yield conn


@pytest.fixture
def bulk(bulk_conn: Connection) -> Iterator[Hands]:
    """What a test does here is undone after it."""
    hands = Hands(bulk_conn)
    rows = hands.rows("select flow_slug, version_id from pgflow.flows where flow_slug <> 'old'")
    hands.lanes = [(str(slug), int(version)) for slug, version in rows]
    with bulk_conn.transaction(force_rollback=True):
        hands.register()
        yield hands


def only(hands: Hands, slug: str) -> None:
    hands.lanes = [lane for lane in hands.lanes if lane[0] == slug]


def check(
    hands: Hands, name: str, batch: int, warm: Callable[[], Any], call: Callable[[], Any]
) -> None:
    """Plans are made, and the catalogue read, in the first call; the second is looked at."""
    warm()
    statements = explained(hands.conn, call)
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
    assert buffers <= FLOOR + BUFFERS * batch, f"{name} {batch}: {costs(statements)}"


def costs(statements: list[Statement]) -> str:
    return "\n".join(
        f"{each.buffers} {' '.join(each.text.split())[:90]}"
        for each in statements
        if each.buffers > 99
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_a_claim_reads_what_it_takes(bulk: Hands, batch: int) -> None:
    check(bulk, "claim, four lanes", batch, lambda: bulk.claim(batch), lambda: bulk.claim(batch))
    only(bulk, "one")
    check(bulk, "claim, one lane", batch, lambda: bulk.claim(batch), lambda: bulk.claim(batch))


@pytest.mark.parametrize("batch", BATCHES)
def test_a_foreign_worker_reads_what_it_takes(bulk: Hands, batch: int) -> None:
    worker = ForeignWorker(bulk.conn, "one", batch=batch)
    worker.register()
    bulk.promote()  # of other flows
    taken: list[list[Message]] = []

    def read() -> None:
        taken.append(worker.poll())

    check(bulk, "foreign read", batch, read, read)
    assert [len(messages) for messages in taken] == [batch, batch]
    check(bulk, "foreign start", batch, *(partial(worker.start, messages) for messages in taken))
    hide = "select * from pgflow.set_vt_batch('one', %s, %s)"
    more = worker.poll()
    ids = [message.msg_id for message in more]
    moved = partial(worker.rows, hide, ids, [60] * len(ids))
    check(bulk, "foreign set_vt", batch, moved, moved)


def test_the_queue_of_a_flow_is_read_past_what_is_closed(server: DatabaseServer) -> None:
    with true_statistics(server) as conn:
        hands = Hands(conn)
        length = partial(hands.value, "select count(*) from pgmq.q_one where vt <= now()")
        assert length() >= READY - RUNNING
        [statement] = explained(conn, length)
        scans = {scan.kind for scan in statement.scans if scan.table in BIG}
        assert scans == {"Bitmap Heap Scan"}, statement.plan


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("slug", ["one", "chain", "spread"])
def test_a_commit_reads_what_it_writes(bulk: Hands, slug: str, batch: int) -> None:
    only(bulk, slug)
    if slug != "one":
        bulk.start(slug, *range(2 * batch))
    first, second = bulk.claim(batch), bulk.claim(batch)
    assert len(second) == batch
    check(
        bulk,
        f"commit and claim {slug}",
        batch,
        lambda: bulk.complete(first, [1], want=batch),
        lambda: bulk.complete(second, [1], want=batch),
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("output", [[], [1], 5], ids=["empty", "one element", "no list"])
def test_a_commit_that_skips_or_fails_reads_what_it_writes(
    bulk: Hands, output: object, batch: int
) -> None:
    only(bulk, "tricky")
    bulk.start("tricky", *range(2 * batch))
    first, second = bulk.claim(batch), bulk.claim(batch)
    check(
        bulk,
        f"tricky {output}",
        batch,
        lambda: bulk.complete(first, output),
        lambda: bulk.complete(second, output),
    )
    weak = [task for task in bulk.claim() if task.step_slug == "weak"]
    if output != 5:
        check(
            bulk,
            f"tricky skip {output}",
            batch,
            lambda: bulk.fail(weak[:batch]),
            lambda: bulk.fail(weak[batch:]),
        )


@pytest.mark.parametrize("batch", BATCHES)
def test_a_commit_of_elements_of_one_map_reads_what_it_writes(bulk: Hands, batch: int) -> None:
    only(bulk, "spread")
    bulk.start("spread", 1)
    bulk.complete(bulk.claim(), list(range(1000)))
    first, second = bulk.claim(batch), bulk.claim(batch)
    check(
        bulk,
        "commit elements",
        batch,
        partial(bulk.complete, first),
        partial(bulk.complete, second),
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_a_turn_of_one_large_map_reads_what_it_moves(server: DatabaseServer, batch: int) -> None:
    """The statistics know one run with one task: beginning at the run looks cheap, and walks all
    elements of the map once for each of the batch."""
    with server.database(server.template) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            first = Hands(conn)
            first.define(spread("spread"))
            first.start("spread", 1)
            conn.execute("analyze pgflow.runs, pgflow.step_states, pgflow.step_tasks")
        with psycopg.connect(dsn, autocommit=True) as conn:
            hands = Hands(conn, lanes=first.lanes)
            hands.register()
            one = hands.complete(hands.claim(), list(range(3000)), want=batch).tasks
            two = hands.claim(batch)
            check(
                hands,
                "turn of a map",
                batch,
                partial(hands.complete, one, 1, want=batch),
                partial(hands.complete, two, 1, want=batch),
            )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("permanent", [False, True], ids=["retry", "final"])
def test_a_commit_of_failures_reads_what_it_writes(
    bulk: Hands, batch: int, permanent: bool
) -> None:
    only(bulk, "one")
    first, second = bulk.claim(batch), bulk.claim(batch)
    check(
        bulk,
        f"commit failures {permanent}",
        batch,
        lambda: bulk.fail(first, permanent=permanent),
        lambda: bulk.fail(second, permanent=permanent),
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_a_start_reads_what_it_inserts(bulk: Hands, batch: int) -> None:
    def start() -> None:
        bulk.start("chain", *range(batch), keys=[f"new {next(numbers)}" for _ in range(batch)])

    numbers = iter(range(10**6))
    check(bulk, "start", batch, start, start)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_repeated_start_reads_what_it_finds(bulk: Hands, batch: int) -> None:
    keys = [f"new {number}" for number in range(batch)]
    start = partial(bulk.start, "chain", *range(batch), keys=keys)
    start()
    check(bulk, "start again", batch, start, start)


@pytest.mark.parametrize("batch", [10, 100])
def test_a_timer_reads_what_is_due(bulk: Hands, batch: int) -> None:
    def promote() -> None:
        assert promote_tasks(batch).on_sync(bulk.conn)[0].promoted == batch

    check(bulk, "promote", batch, promote, promote)


def test_a_heartbeat_reads_what_the_worker_holds(bulk: Hands) -> None:
    bulk.claim(10)
    check(bulk, "heartbeat", 10, bulk.beat, bulk.beat)


def test_a_sweep_reads_what_is_running(bulk: Hands) -> None:
    workers = bulk.rows("select worker_id from pgflow.workers where worker_id <> %s", bulk.id)

    def sweep() -> None:
        (bulk.id,) = workers.pop()
        bulk.lost()
        assert bulk.reclaim().requeued == 10

    check(bulk, "sweep", RUNNING, sweep, sweep)


def test_a_sweep_that_fails_tasks_reads_what_is_running(bulk: Hands) -> None:
    workers = bulk.rows("select worker_id from pgflow.workers where worker_id <> %s", bulk.id)
    bulk.conn.execute("update pgflow.flows set opt_max_crashes = 0")
    bulk.conn.execute("update pgflow.workers set stopped_at = null")

    def sweep() -> None:
        (bulk.id,) = workers.pop()
        bulk.lost()
        assert bulk.reclaim().failed == 10

    check(bulk, "sweep, out of crashes", RUNNING, sweep, sweep)


@pytest.mark.parametrize("batch", BATCHES)
def test_giving_back_reads_what_it_gives(bulk: Hands, batch: int) -> None:
    first, second, third, fourth = (bulk.claim(batch) for _ in range(4))
    check(bulk, "release", batch, lambda: bulk.release(first), lambda: bulk.release(second))
    held = [release_held(bulk.id, [t.claim_token for t in tasks]) for tasks in (third, fourth)]
    check(
        bulk,
        "release held",
        2 * batch,
        lambda: held[0].on_sync(bulk.conn),
        lambda: held[1].on_sync(bulk.conn),
    )


def test_leaving_reads_what_the_worker_holds(bulk: Hands) -> None:
    bulk.claim(100)
    check(bulk, "leave", 100, Hands(bulk.conn).leave, bulk.leave)


def test_a_cancel_reads_the_run(bulk: Hands) -> None:
    first, second = bulk.start("chain", 1, 2)
    check(bulk, "cancel", 1, lambda: bulk.cancel(first), lambda: bulk.cancel(second))
    check(bulk, "retry", 1, lambda: bulk.retry(first), lambda: bulk.retry(second))


def test_a_look_at_a_run_reads_the_run_and_its_lane(bulk: Hands) -> None:
    only(bulk, "one")
    first, second = bulk.start("one", 1, 2)
    [reason] = explain_run(first).on_sync(bulk.conn)
    assert reason.reason == "in_line"
    before = reason.facts["before"]
    assert before >= READY - RUNNING - 10
    check(
        bulk,
        "explain",
        before,
        lambda: explain_run(first).on_sync(bulk.conn),
        lambda: explain_run(second).on_sync(bulk.conn),
    )


def test_a_look_at_all_work_reads_what_is_ready_running_or_due(bulk: Hands) -> None:
    margin = timedelta(seconds=60)
    looks: list[Call[Any]] = [
        ask.ready_lanes(),
        ask.late_timers(margin),
        ask.unclaimed_losses(margin),
        ask.stuck_gates(margin),
    ]
    for look in looks:
        asked = partial(look.on_sync, bulk.conn)
        check(bulk, look.sql.partition("pgflow.")[2][:20], READY, asked, asked)
    bulk.conn.execute(
        "insert into pgflow.archive_refusals (run_id, flow_slug, message, refused_at)"
        " select r.run_id, 'old', 'too large', now() from pgflow.runs r limit 100"
    )
    for look in (ask.deadly_tasks(), ask.runs_without_tasks(), ask.refused_runs()):
        asked = partial(look.on_sync, bulk.conn)
        check(bulk, look.sql.partition("from pgflow.")[2][:20], 10_000, asked, asked)


def test_a_turn_takes_as_long_as_in_an_empty_database(bulk: Hands, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        small = Hands(conn)
        small.define(single("one"))
        small.start("one", *range(100))
        small.register()
        conn.execute("vacuum analyze")
        only(bulk, "one")
        for batch in BATCHES:
            here, there = turn_times((small, bulk), batch)
            print(
                f"turn of {batch:3}: {here * 1000:.2f} ms, beside a million {there * 1000:.2f} ms"
            )
            assert there < 3 * here + 0.002


def turn_times(sides: Sequence[Hands], batch: int) -> list[float]:
    """Seconds for claim and commit of a batch, in turns that start as many runs as they end. Side
    by side, as others use the machine too."""
    times: list[list[float]] = [[] for _ in sides]
    for _ in range(15):
        for hands, taken in zip(sides, times, strict=True):
            hands.start("one", *range(batch))
            began = time.perf_counter()
            tasks = hands.claim(batch)
            hands.complete(tasks)
            taken.append(time.perf_counter() - began)
            assert len(tasks) == batch
    return [median(taken) for taken in times]
