"""Runs that are archived before they go; and that nobody waits for what prunes or archives."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell.db.archive import Batch, end_archive, take_archive
from stepwell.db.define import ensure_flow
from stepwell.db.prune import prune
from stepwell.define.archive import ArchivedRun
from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import child, job, machine, says
from .shapes import single, spread
from .waiting import transaction, waits_for_none

Connect = Callable[[], psycopg.Connection[Any]]
DAY = 86400.0


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def later(hands: Hands, days: float, seconds: float = 0) -> None:
    hands.at(f"{days * DAY + seconds} seconds")


def take(hands: Hands, *slugs: str, worker: UUID | None = None) -> Batch:
    return take_archive(slugs, worker or hands.id, 30).on_sync(hands.conn)[0]


def end(hands: Hands, batch: Batch, worker: UUID | None = None, pause: float = 0) -> int:
    assert batch.flow_slug is not None
    by = worker or hands.id
    if pause:
        call = end_archive(by, batch.flow_slug, pause=pause)
    else:
        call = end_archive(by, batch.flow_slug, batch.run_ids, batch.ended or [])
    return call.on_sync(hands.conn)[0].runs


def count(hands: Hands) -> int:
    return hands.value("select count(*) from pgflow.runs")


def ended_runs(hands: Hands, slug: str, number: int, **options: Any) -> list[UUID]:
    hands.define(single(slug, archive=True, **options))
    if not hands.rows("select 1 from pgflow.workers"):
        hands.register()
    runs = hands.start(slug, *[{"n": n} for n in range(number)])
    hands.drain()
    return runs


def test_runs_go_once_they_are_archived(hands: Hands) -> None:
    runs = ended_runs(hands, "one", 3)
    later(hands, 29)
    assert take(hands, "one").run_ids == []
    later(hands, 31)
    assert prune(30).on_sync(hands.conn)[0].deleted == 0  # workers without an archive
    batch = take(hands, "one", "two")
    assert (batch.flow_slug, batch.again) == ("one", 0)
    assert sorted(batch.run_ids) == sorted(runs)
    read = [ArchivedRun.read(each) for each in batch.documents or ()]
    assert [(run.id, run.status, run.ended_at) for run in read] == [
        (id, "completed", at) for id, at in zip(batch.run_ids, batch.ended or (), strict=True)
    ]
    assert count(hands) == 3
    assert end(hands, batch) == 3
    assert count(hands) == 0
    last = take(hands, "one")  # the round ends
    assert (last.run_ids, last.again) == ([], 0)
    assert (take(hands, "one").flow_slug, take(hands, "one").again) == (None, 300)


def test_a_document_has_all_of_a_run(hands: Hands) -> None:
    hands.define(machine("parent", "begin", "join", archive=True))
    hands.define(spread("each", archive=True))
    hands.register()
    [run] = hands.start("each", {"a": 1.0, "b": 12345678901234567890})
    [task] = hands.claim()
    hands.complete([task], [1, 2])
    first, second = hands.claim()
    hands.conn.execute(
        "insert into pgflow.logs (run_id, step_slug, task_index, attempt, claim_token, n, at,"
        " level, message) values (%s, %s, 0, 1, 1, 1, now(), 'info', E'two\\nlines')",
        (run, first.step_slug),
    )
    hands.fail([first])
    hands.complete([second], "b")
    later(hands, 0.1)
    hands.promote()
    hands.complete(hands.claim(), "a")
    hands.drain()
    hands.conn.execute("update pgflow.runs set tags = '{vip}', metadata = '{\"by\": \"ann\"}'")
    later(hands, 40)
    batch = take(hands, "each")
    assert batch.documents
    read = ArchivedRun.read(batch.documents[0])
    assert "\n" not in read.json
    assert read.input == {"a": 1.0, "b": 12345678901234567890}
    assert (read.tags, read.metadata, read.version) == (["vip"], {"by": "ann"}, 1)
    outputs = {step.step: (step.status, step.tasks, step.output) for step in read.steps}
    assert outputs[first.step_slug] == ("completed", 2, ["a", "b"])
    [attempt] = read.attempts
    assert (attempt.step, attempt.task_index, attempt.attempt) == (first.step_slug, 0, 1)
    assert [line.message for line in read.logs] == ["two\nlines"]
    assert end(hands, batch) == 1

    parent = hands.begin("parent")
    hands.send(parent, "hello", {"n": 1})
    [task] = hands.claim(1)
    hands.commit([says(task, "done", result=7)])
    later(hands, 80)
    [document] = take(hands, "parent").documents or []
    read = ArchivedRun.read(document)
    assert (read.kind, read.output, read.steps[0].step) == ("machine", 7, "begin")
    assert [(s.name, s.payload) for s in read.signals] == [("hello", {"n": 1})]


def test_one_worker_has_the_runs_of_a_flow_until_its_time_is_over(hands: Hands) -> None:
    ended_runs(hands, "one", 2)
    ended_runs(hands, "two", 1)
    later(hands, 40)
    other = uuid4()
    mine, theirs = take(hands, "one", "two"), take(hands, "one", "two", worker=other)
    assert (mine.flow_slug, theirs.flow_slug) == ("one", "two")
    assert take(hands, "one", "two").flow_slug is None
    later(hands, 40, 601)  # `other` was killed
    assert take(hands, "two").run_ids == []  # what it had comes again in the next round
    later(hands, 40, 1000)
    assert len(take(hands, "two").run_ids) == 1
    assert end(hands, theirs, worker=other) == 1  # it was not: then they go by its word


def test_an_archive_that_fails_keeps_the_runs_and_lets_others_pass(hands: Hands) -> None:
    ended_runs(hands, "one", 150)
    later(hands, 40)
    first = take(hands, "one")
    assert len(first.run_ids) == 100
    assert end(hands, first, pause=60.0) == 0
    assert take(hands, "one").flow_slug is None
    later(hands, 40, 61)
    second = take(hands, "one")
    assert (len(second.run_ids), set(second.run_ids) & set(first.run_ids)) == (50, set())
    assert end(hands, second) == 50
    assert take(hands, "one").run_ids == []
    later(hands, 40, 400)
    assert take(hands, "one").run_ids == first.run_ids


def test_a_run_that_was_retried_meanwhile_stays(hands: Hands, connect: Connect) -> None:
    hands.define(single("one", archive=True, maxAttempts=1))
    hands.register()
    runs = hands.start("one", {}, {}, {})
    hands.fail(hands.claim(), permanent=True)
    later(hands, 40)
    batch = take(hands, "one")
    retried, held, gone = batch.run_ids
    hands.retry(retried)
    later(hands, 41)
    hands.drain()  # it ended, but not as it was handed out
    other = connect()
    with transaction(other):
        other.execute("select 1 from pgflow.runs where run_id = %s for update", (held,))
        assert waits_for_none(lambda: end(hands, batch), hands.conn) == 1
    left = {run for (run,) in hands.rows("select run_id from pgflow.runs")}
    assert left == {retried, held} and gone in runs


def test_of_a_run_that_went_wrong_very_often_the_newest_attempts_and_lines_are_kept(
    hands: Hands,
) -> None:
    first, second = sorted(ended_runs(hands, "f", 2))  # as runs that begin together are looked at
    hands.conn.execute(
        """
        insert into pgflow.attempts (run_id, step_slug, task_index, attempt, error_type,
          error_message, traceback, failed_at)
        select %s, 's0', 0, n, 'E', 'boom', (
          select string_agg(md5(n || '/' || i), '') from generate_series(1, 200) i), pgflow.now()
        from generate_series(1, 2001) n
        """,
        [first],
    )
    hands.conn.execute(
        """
        insert into pgflow.logs (run_id, step_slug, task_index, attempt, claim_token, n, at, level,
          message)
        select %s, 's0', 0, 1, 1, n, pgflow.now(), 'info', n::text from generate_series(1, 10001) n
        """,
        [first],
    )
    later(hands, days=31)
    batch = take(hands, "f")
    assert batch.run_ids == [first]  # what was said of it counts: the other is on the next page
    [run] = [ArchivedRun.read(each) for each in batch.documents or ()]
    assert run.cut
    assert [run.attempts[0].attempt, run.attempts[-1].attempt] == [2, 2001]
    assert [run.logs[0].message, run.logs[-1].message] == ["2", "10001"]
    end(hands, batch)
    [other] = [ArchivedRun.read(each) for each in take(hands, "f").documents or ()]
    assert (other.id, other.cut) == (second, False)


def test_large_runs_are_handed_over_a_few_at_a_time(hands: Hands) -> None:
    hands.define(single("large", archive=True))
    hands.register()
    hands.start("large", {}, {}, {})
    hands.conn.execute("alter table pgflow.runs alter column input set storage external")
    hands.conn.execute("update pgflow.runs set input = to_jsonb(repeat('x', 6000000))")
    hands.drain()
    later(hands, 40)
    sizes: list[int] = []
    while (batch := take(hands, "large")).run_ids:
        sizes.append(len(batch.run_ids))
        end(hands, batch)
    assert sizes == [2, 1]


def test_what_is_archived_is_left_alone_by_all_who_have_no_archive(hands: Hands) -> None:
    ended_runs(hands, "kept", 1)
    hands.define(single("plain"))
    hands.start("plain")
    hands.drain()
    later(hands, 40)
    slugs = [slug for (slug, _) in hands.rows("select * from pgflow.retentions()")]
    assert slugs == ["plain"]
    hands.conn.execute("select pgflow.prune_data_older_than('30 days')")
    assert hands.rows("select flow_slug from pgflow.runs") == [("kept",)]
    hands.define(single("kept"))  # the app has no archive any more
    assert prune(30).on_sync(hands.conn)[0].deleted == 1


def test_a_deleted_flow_leaves_nothing_of_its_archive(hands: Hands) -> None:
    ended_runs(hands, "one", 1)
    later(hands, 40)
    take(hands, "one")
    hands.conn.execute("select pgflow.delete_flow_and_data('one')")
    assert hands.rows("select 1 from pgflow.archiving") == []
    assert take(hands, "one").flow_slug is None


RUNS: LiteralString = "select 1 from pgflow.runs where status = 'completed'"


def test_all_who_prune_agree_on_what_may_go(hands: Hands) -> None:
    """A key that is taken for as long as the run is kept keeps no run; a child that its parent
    asks for no more goes, however long that one lives."""
    hands.define(job("mail"))
    hands.define(machine("parent", "begin", "join", "rest"))
    hands.register()
    hands.begin("mail", key="kept", key_until="infinity")
    hands.commit([says(task, "completed") for task in hands.claim()])
    hands.begin("parent")
    [task] = hands.claim(1)
    hands.commit([says(task, "spawn", step="join", children=[child("mail")])])
    [mail] = hands.claim(1)
    hands.commit([says(mail, "completed")])
    [task] = hands.claim(1)
    later(hands, 40)
    for expected in (1, 0):
        for way in (by_sweep, by_call):
            with hands.conn.transaction(force_rollback=True):
                way(hands)
                assert len(hands.rows(RUNS)) == expected, way
        hands.commit([says(task, "spawn", step="rest", children=[child("mail")])])


def by_sweep(hands: Hands) -> None:
    while prune(30).on_sync(hands.conn)[0].again == 0:
        pass


def by_call(hands: Hands) -> None:
    hands.conn.execute("select pgflow.prune_data_older_than('30 days')")


def test_nobody_waits_for_what_prunes(hands: Hands, connect: Connect) -> None:
    """Starts, claims, commits, signals and schedules of the same flows, while a bit of the sweep
    and a batch of the archive are not committed yet."""
    ended_runs(hands, "kept", 5)
    hands.define(single("one"))
    hands.define(job("mail"))
    hands.start("one", *[{}] * 5)
    hands.drain()
    later(hands, 40)
    live = hands.start("one", {}, {})
    sweeper = Hands(connect())
    later(sweeper, 40)
    with transaction(sweeper.conn):
        assert prune(30).on_sync(sweeper.conn)[0].deleted == 5
        batch = take(sweeper, "kept")
        assert end(sweeper, batch) == 5

        def work() -> None:
            started = hands.start("one", {}, {}, keys=["a", "b"])
            hands.start("kept", {})
            hands.begin("mail", key="m")
            hands.send(live[0], "hello")
            hands.cancel(started[1])
            hands.drain()
            assert take(hands, "kept").flow_slug is None  # it is in other hands
            assert hands.define(single("one", retention=3))

        waits_for_none(work, hands.conn)
        assert [hands.status(run) for run in live] == ["completed"] * 2


def test_who_starts_the_first_run_of_a_new_version_takes_no_archive_away(hands: Hands) -> None:
    """Clients know nothing of an app's archive, and may have the new code before its workers."""
    hands.define(machine("order", "begin", archive=True))
    hands.register()
    run = hands.begin("order")
    hands.commit([says(task, "done") for task in hands.claim()])
    assert hands.status(run) == "completed"
    newer = machine("order", "begin", version=2)
    ensure_flow(json.dumps(newer), make_current=False).on_sync(hands.conn)
    later(hands, days=60)
    prune(30).on_sync(hands.conn)
    assert take(hands, "order").run_ids == [run]
    hands.define(newer)  # by a worker without one
    assert hands.value("select not opt_archive from pgflow.flows")
