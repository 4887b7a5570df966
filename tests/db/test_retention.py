"""What ended long ago goes, a bit at a time, and nothing that somebody may still ask for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell.db.prune import AuditPage, Page, Pruned, prune, prune_audit, prune_runs
from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .shapes import chain, single, spread
from .waiting import transaction, waits_for_none

Connect = Callable[[], psycopg.Connection[Any]]
OWNED: tuple[LiteralString, ...] = (
    "select 1 from pgflow.runs",
    "select 1 from pgflow.step_states",
    "select 1 from pgflow.step_tasks",
    "select 1 from pgflow.attempts",
    "select 1 from pgflow.progress",
    "select 1 from pgflow.logs",
    "select 1 from pgflow.signals",
)
DAY = 86400.0


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def later(hands: Hands, days: float) -> None:
    hands.at(f"{days * DAY} seconds")


def sweep(hands: Hands, keep: float = 30) -> list[Pruned]:
    """A whole round, and what each bit of it did."""
    bits = [prune(keep).on_sync(hands.conn)[0]]
    while bits[-1].again == 0:
        bits.append(prune(keep).on_sync(hands.conn)[0])
    hands.conn.execute("update pgflow.pruning set finished_at = null")
    return bits


def swept(hands: Hands, keep: float = 30) -> int:
    return sum(bit.deleted for bit in sweep(hands, keep))


def there(hands: Hands, *runs: UUID) -> list[bool]:
    known = {row[0] for row in hands.rows("select run_id from pgflow.runs")}
    return [run in known for run in runs]


def keeps(hands: Hands, slug: str, days: float | None) -> None:
    hands.conn.execute(
        "update pgflow.flows set opt_retention = %s where flow_slug = %s", (days, slug)
    )


def page(hands: Hands, slug: str, **place: Any) -> Page:
    now: datetime = hands.value("select pgflow.now()")
    return prune_runs(slug, now - timedelta(days=30), **place).on_sync(hands.conn)[0]


def test_ended_runs_go_after_their_days_with_all_that_they_own(hands: Hands) -> None:
    hands.define(spread("each"))
    hands.register()
    runs = hands.start("each", {}, {}, {})
    hands.send(runs[0], "hello")
    tasks = {task.run_id: task for task in hands.claim()}
    hands.fail([tasks[runs[1]]], permanent=True)
    hands.cancel(runs[2])
    hands.complete([tasks[runs[0]]], [1, 2, 3])
    hands.drain()
    assert [hands.status(run) for run in runs] == ["completed", "failed", "cancelled"]
    later(hands, 29.9)
    assert swept(hands) == 0
    later(hands, 30.1)
    assert swept(hands) == 3
    for query in OWNED:
        assert hands.rows(query) == []
    assert hands.value("select count(*) from pgflow.audit") == 1  # the cancel


def test_live_runs_stay_however_old_they_are(hands: Hands) -> None:
    hands.define(single("one"))
    hands.register()
    [waits, ends] = hands.start("one", {}, {})
    later(hands, 100)
    hands.complete([task for task in hands.claim() if task.run_id == ends])
    assert swept(hands) == 0  # it ended just now
    later(hands, 131)
    assert swept(hands) == 1
    assert there(hands, waits, ends) == [True, False]


def test_a_definition_says_how_long_its_runs_are_kept(hands: Hands) -> None:
    slugs = ["forever", "long", "short", "unsaid"]
    for slug in slugs:
        hands.define(single(slug, retention={"forever": 0, "long": 90, "short": 0.5}.get(slug)))
    hands.register()
    for slug in slugs:
        hands.start(slug)
    hands.drain()

    def left() -> list[str]:
        return [slug for (slug,) in hands.rows("select flow_slug from pgflow.runs order by 1")]

    later(hands, 1)
    assert (swept(hands), left()) == (1, ["forever", "long", "unsaid"])
    later(hands, 31)
    assert (swept(hands), left()) == (1, ["forever", "long"])
    later(hands, 91)
    assert (swept(hands), left()) == (1, ["forever"])
    later(hands, 10_000)
    assert swept(hands) == 0


def test_without_days_only_those_that_say_some_go(hands: Hands) -> None:
    hands.define(single("said", retention=1))
    hands.define(single("unsaid"))
    hands.register()
    hands.start("said")
    hands.start("unsaid")
    hands.drain()
    later(hands, 10_000)
    assert swept(hands, keep=0) == 1
    assert hands.rows("select flow_slug from pgflow.runs") == [("unsaid",)]


def test_a_deploy_changes_how_long_and_what_was_tuned_stays_until_then(hands: Hands) -> None:
    hands.define(single("one", retention=7))
    query: LiteralString = "select opt_retention from pgflow.flows"
    assert hands.value(query) == 7
    keeps(hands, "one", 99)
    hands.define(single("one", retention=7))
    assert hands.value(query) == 99
    hands.define(single("one", retention=8))
    assert hands.value(query) == 8
    hands.define(single("one"))
    assert hands.value(query) is None
    with pytest.raises(psycopg.errors.CheckViolation, match="opt_retention_is_nonnegative"):
        keeps(hands, "one", -1)


def test_children_stay_while_their_parent_may_ask_for_them(hands: Hands) -> None:
    hands.define(machine("parent", "begin", "join", "rest"))
    hands.define(job("mail"))
    hands.register()
    parent = hands.begin("parent")
    [task] = hands.claim(1)
    children = [child("mail", {"n": n}) for n in range(3)]
    loose = child("mail", {"n": 3})
    hands.commit([says(task, "spawn", step="join", children=children)])
    hands.commit([says(each, "completed") for each in hands.claim() if each.kind == "job"])
    later(hands, 40)
    assert swept(hands) == 0  # the parent was woken, and its step may run for a long time
    [task] = hands.claim(1)
    hands.commit([says(task, "spawn", step="rest", children=[loose])])
    assert swept(hands) == 3  # it waits for others now
    later(hands, 80)
    hands.commit([says(each, "completed") for each in hands.claim() if each.kind == "job"])
    later(hands, 120)
    assert swept(hands) == 0
    hands.commit([says(each, "done") for each in hands.claim()])
    assert hands.status(parent) == "completed"
    assert swept(hands) == 1  # the last child; the parent has just ended
    assert there(hands, parent, id_of(loose)) == [True, False]
    later(hands, 151)
    assert swept(hands) == 1
    assert hands.rows("select 1 from pgflow.joins") == []


def test_a_key_that_is_taken_until_a_time_stays_until_then(hands: Hands) -> None:
    hands.define(job("mail"))
    hands.register()
    until = hands.value("select (pgflow.now() + interval '60 days')::text")
    timed = hands.begin("mail", key="timed", key_until=until)
    kept = hands.begin("mail", key="kept", key_until="infinity")
    hands.commit([says(task, "completed") for task in hands.claim()])
    later(hands, 40)
    assert swept(hands) == 1
    assert there(hands, timed, kept) == [True, False]  # `kept`: for as long as the run is kept
    assert hands.begin("mail", key="kept") != kept
    assert hands.started("mail", [{}], ["timed"])[0].run_id == timed
    later(hands, 61)
    assert swept(hands) == 1


def test_a_run_that_somebody_holds_is_left_for_the_next_round(
    hands: Hands, connect: Connect
) -> None:
    hands.define(single("one"))
    hands.register()
    [held, free] = hands.start("one", {}, {})
    hands.drain()
    later(hands, 40)
    other = connect()
    with transaction(other):
        other.execute("select 1 from pgflow.runs where run_id = %s for update", (held,))
        assert waits_for_none(lambda: swept(hands), hands.conn) == 1
        assert there(hands, held, free) == [True, False]
    assert swept(hands) == 1


def test_one_sweeps_at_a_time(hands: Hands, connect: Connect) -> None:
    hands.define(single("one"))
    hands.register()
    hands.start("one")
    hands.drain()
    later(hands, 40)
    other = Hands(connect())
    with transaction(other.conn):
        prune(0).on_sync(other.conn)
        [bit] = waits_for_none(lambda: prune(30).on_sync(hands.conn), hands.conn)
        assert (bit.deleted, bit.again) == (0, 300)


def test_a_round_rests_and_begins_again(hands: Hands) -> None:
    hands.define(single("one"))
    hands.register()
    hands.start("one")
    hands.drain()
    later(hands, 40)
    assert prune(30).on_sync(hands.conn) == [Pruned(deleted=1, workers=0, again=0)]
    assert prune(30).on_sync(hands.conn)[0].again == 300
    [rest] = prune(30).on_sync(hands.conn)
    assert 0 < rest.again <= 300
    later(hands, 1)  # a clock that went back is no reason to wait for weeks
    assert prune(30).on_sync(hands.conn)[0].again in (0, 300)


def test_a_round_goes_on_where_it_stopped(hands: Hands) -> None:
    """Live ones at the head are looked at once in a round, not in every bit of it."""
    for slug in ("a", "b", "c"):
        hands.define(single(slug))
    hands.register()
    alive = [run for slug in ("a", "b", "c") for run in hands.start(slug, *[{}] * 3)]
    later(hands, 1)
    for slug in ("a", "b", "c"):
        hands.start(slug, *[{}] * 3)
    hands.complete([task for task in hands.claim() if task.run_id not in alive])
    later(hands, 40)
    places: list[Any] = []
    deleted = 0
    while True:
        [(gone, _, again)] = hands.rows("select * from pgflow.prune(30, '5 minutes', 2)")
        deleted += gone
        if again > 0:
            break
        places += hands.rows("select flow_slug, started_at, run_id from pgflow.pruning")
    assert deleted == 9
    assert len(places) == len(set(places)) >= 9
    assert all(there(hands, *alive))


def test_many_that_started_at_once_are_all_seen(hands: Hands) -> None:
    hands.define(single("one"))
    hands.register()
    hands.start("one", *[{}] * 700)
    hands.drain()
    assert hands.value("select count(distinct started_at) from pgflow.runs") == 1
    later(hands, 40)
    first = page(hands, "one")
    assert (first.deleted, first.looked) == (500, 500)
    rest = page(hands, "one", after_start=first.last_start, after_run=first.last_run)
    assert (rest.deleted, rest.last_run is not None) == (200, True)
    end = page(hands, "one", after_start=rest.last_start, after_run=rest.last_run)
    assert (end.deleted, end.looked, end.last_run) == (0, 0, None)


def test_large_runs_go_one_at_a_time(hands: Hands) -> None:
    """A bit is ten thousand tasks, or one run."""
    hands.define(spread("each"))
    hands.register()
    hands.start("each", {}, {}, {})
    hands.complete(hands.claim(), list(range(6000)))
    while tasks := hands.claim(20_000):
        hands.complete(tasks)
    later(hands, 40)
    assert [bit.deleted for bit in sweep(hands)] == [2, 1, 0]


def test_workers_that_stopped_long_ago_go(hands: Hands) -> None:
    hands.define(chain("one", 1))
    hands.register()
    others = {name: uuid4() for name in ("stopped", "foreign", "silent", "busy")}
    insert: LiteralString = (
        "insert into pgflow.workers (worker_id, queue_name, function_name, lease, stopped_at)"
        " values (%s, 'one', %s, %s, case when %s then now() end)"
    )
    for name, worker in others.items():
        lease = None if name in ("foreign", "busy") else "1 hour"
        hands.conn.execute(insert, (worker, name, lease, name == "stopped"))
    hands.start("one")
    [task] = hands.claim()
    hands.conn.execute("update pgflow.step_tasks set last_worker_id = %s", (others["busy"],))
    later(hands, 6)
    assert sweep(hands)[-1].workers == 0
    later(hands, 8)
    assert sweep(hands)[-1].workers == 2
    left = {name for (name,) in hands.rows("select function_name from pgflow.workers")}
    assert left == {"hands", "silent", "busy"}
    hands.conn.execute("update pgflow.step_tasks set last_worker_id = %s", (hands.id,))
    hands.release([task])


def test_a_bit_of_the_sweep_reads_no_more_than_it_looks_at(hands: Hands) -> None:
    """Under statistics of an empty table too, with a hundred thousand runs behind."""
    hands.define(single("one"))
    hands.conn.execute(
        "insert into pgflow.runs (run_id, flow_slug, version_id, status, input, started_at,"
        " completed_at) select gen_random_uuid(), 'one', 1, 'completed', '{}',"
        " now() - make_interval(secs => n), now() - make_interval(secs => n)"
        " from generate_series(1, 100000) n"
    )
    later(hands, 40)
    hands.conn.execute("select pgflow.prune_runs('one', pgflow.now())")
    hands.conn.execute("select pg_stat_force_next_flush()")
    before = reads(hands)
    assert page(hands, "one").deleted == 500
    hands.conn.execute("select pg_stat_force_next_flush()")
    assert reads(hands) - before < 5000
    hands.conn.execute("delete from pgflow.runs")  # they have no steps


def reads(hands: Hands) -> int:
    """Rows of runs read so far, by any way."""
    return hands.value(
        "select seq_tup_read + coalesce(idx_tup_fetch, 0) from pg_stat_user_tables"
        " where schemaname = 'pgflow' and relname = 'runs'"
    )


def test_retention_is_an_option_and_no_new_version(hands: Hands) -> None:
    first = hands.define(single("one", retention=1))
    assert hands.define(single("one", retention=2)) == first


def done_before(hands: Hands, days: float, rows: int) -> None:
    hands.conn.execute(
        """
        select pgflow.write_audit(
          pgflow.now() - make_interval(days => 1) * %s, 'ann', 'pause', 'queue', 'q', null)
        from generate_series(1, %s)
        """,
        (days, rows),
    )


def audited(hands: Hands) -> int:
    return hands.value("select count(*) from pgflow.audit")


def test_the_audit_goes_when_it_is_old_a_page_at_a_time(hands: Hands) -> None:
    for days, rows in ((91, 5), (89, 2)):
        done_before(hands, days, rows)
    assert prune_audit(0).on_sync(hands.conn) == [AuditPage(0, None)]
    third = hands.value("select audit_id from pgflow.audit order by 1 offset 2 limit 1")
    assert prune_audit(90, most=3).on_sync(hands.conn) == [AuditPage(3, third)]
    assert prune_audit(90, third, most=3).on_sync(hands.conn) == [AuditPage(2, None)]
    assert audited(hands) == 2
    assert prune_audit(90).on_sync(hands.conn) == [AuditPage(0, None)]
    later(hands, 2)
    assert prune_audit(90).on_sync(hands.conn) == [AuditPage(2, None)]
    assert prune_audit(90).on_sync(hands.conn) == [AuditPage(0, None)]


def test_nobody_waits_for_who_prunes_the_audit(hands: Hands, connect: Connect) -> None:
    done_before(hands, 91, 4)
    other = connect()
    with transaction(other):
        assert prune_audit(90, most=2).on_sync(other)[0].deleted == 2
        [rest] = waits_for_none(lambda: prune_audit(90).on_sync(hands.conn), hands.conn)
        assert rest == AuditPage(2, None)
        waits_for_none(lambda: done_before(hands, 0, 1), hands.conn)
    assert audited(hands) == 1
