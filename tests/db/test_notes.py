"""What bodies say while they run: kept under their claims, read in order, gone with their run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import pytest

from stepwell.db.claim import Task
from stepwell.db.notes import (
    Line,
    LogRow,
    ProgressInfo,
    Said,
    run_logs,
    run_progress,
    write_notes,
)
from stepwell.db.prune import prune
from tests.servers import DatabaseServer

from .conftest import Connect
from .explain import explained
from .hands import Hands
from .kinds import machine, says
from .shapes import chain, single, spread
from .waiting import held_up, transaction, waits_for_none

LOGS: LiteralString = "select message from pgflow.logs order by log_id"


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def only(hands: Hands) -> Task:
    [task] = hands.claim()
    return task


def write(hands: Hands, said: Sequence[Said], *lines: Line) -> dict[int, str]:
    return {row.token: row.verdict for row in write_notes(said, lines).on_sync(hands.conn)}


def log(hands: Hands, task: Task, *texts: str, first: int = 1) -> str:
    """Lines of a claim, a second apart; what became of them."""
    lines = [
        Line(task.claim_token, n, float(len(texts) - n), "info", text)
        for n, text in enumerate(texts, first)
    ]
    return write(hands, [Said(task.message_id, task.claim_token)], *lines)[task.claim_token]


def told(hands: Hands, run: UUID, **place: object) -> list[str]:
    return [row.message for row in rows(hands, run, **place) if row.message is not None]


def rows(hands: Hands, run: UUID, **place: object) -> list[LogRow]:
    return run_logs(run, **place).on_sync(hands.conn)  # pyright: ignore[reportArgumentType]


def progress(hands: Hands, run: UUID) -> list[ProgressInfo]:
    return run_progress(run).on_sync(hands.conn)


def test_lines_and_progress_belong_to_the_claim_that_said_them(hands: Hands) -> None:
    hands.define(spread("each"))
    [run] = hands.start("each")
    hands.complete(hands.claim(), [1, 2])
    one, two = hands.claim()
    said = [
        Said(one.message_id, one.claim_token, 0.25, "a quarter", 2.0),
        Said(two.message_id, two.claim_token),
    ]
    lines = [
        Line(one.claim_token, 1, 3.0, "warning", "hm"),
        Line(two.claim_token, 1, 1.0, "info", "hello"),
    ]
    assert set(write(hands, said, *lines).values()) == {"written"}
    first, second = rows(hands, run)
    assert (first.step, first.task_index, first.attempt, first.n) == ("each", 0, 1, 1)
    assert (first.level, first.message, second.message) == ("warning", "hm", "hello")
    assert first.at and second.at
    assert second.at - first.at == timedelta(seconds=2)
    [far] = progress(hands, run)
    assert (far.task_index, far.share, far.message, far.running) == (0, 0.25, "a quarter", True)
    assert second.at - far.at == timedelta(seconds=-1) + timedelta(seconds=2)


def test_what_is_written_twice_is_there_once(hands: Hands) -> None:
    hands.define(single("one"))
    [run] = hands.start("one")
    task = only(hands)
    for _ in range(2):
        assert log(hands, task, "a", "b") == "written"
    assert log(hands, task, "c", first=3) == "written"
    assert told(hands, run) == ["a", "b", "c"]
    assert log(hands, task, "C", first=3) == "written"  # a line may be said anew
    assert told(hands, run) == ["a", "b", "C"]


def test_a_claim_that_is_over_writes_nothing(hands: Hands) -> None:
    hands.define(single("one"))
    [run] = hands.start("one")
    before = only(hands)
    log(hands, before, "before")
    hands.release([before])
    after = only(hands)
    assert log(hands, before, "late", first=2) == "stale"
    assert log(hands, after, "after") == "written"
    said = Said(after.message_id, after.claim_token, 0.5, None, 0.0)
    assert write(hands, [said]) == {after.claim_token: "written"}
    hands.complete([after])
    assert log(hands, after, "too late", first=2) == "stale"
    assert told(hands, run) == ["before", "after"]
    [far] = progress(hands, run)
    assert (far.share, far.running) == (0.5, False)


def test_what_a_lost_worker_wrote_stays(hands: Hands) -> None:
    hands.define(single("one"))
    hands.register()
    [run] = hands.start("one")
    lost = only(hands)
    log(hands, lost, "a", "b")
    hands.lost()
    assert hands.reclaim().requeued == 1
    assert log(hands, lost, "c", first=3) == "stale"
    again = only(hands)
    log(hands, again, "d")
    assert [(row.attempt, row.n, row.message) for row in rows(hands, run)] == [
        (1, 1, "a"),
        (1, 2, "b"),
        (1, 1, "d"),  # what a crash cut off does not count as an attempt
    ]


def test_progress_of_another_attempt_takes_the_place_of_the_last(hands: Hands) -> None:
    hands.define(single("one"))
    [run] = hands.start("one")
    for share in (0.9, 0.1):
        task = only(hands)
        write(hands, [Said(task.message_id, task.claim_token, share, f"{share}", 0.0)])
        hands.fail([task])
    [far] = progress(hands, run)
    assert (far.attempt, far.share, far.running) == (2, pytest.approx(0.1), False)


def test_a_machine_has_lines_and_progress_of_each_step(hands: Hands) -> None:
    hands.define(machine("order", "pay", "ship"))
    run = hands.begin("order")
    for step in ("pay", "ship"):
        task = only(hands)
        assert task.step_slug == step
        log(hands, task, f"in {step}")
        write(hands, [Said(task.message_id, task.claim_token, 1.0, step, 0.0)])
        hands.commit([says(task, "next", step="ship") if step == "pay" else says(task, "done")])
    assert [(row.step, row.message) for row in rows(hands, run)] == [
        ("pay", "in pay"),
        ("ship", "in ship"),
    ]
    assert {far.step for far in progress(hands, run)} == {"pay", "ship"}


def test_lines_can_be_chosen(hands: Hands) -> None:
    hands.define(spread("each"))
    [run] = hands.start("each")
    log(hands, task := only(hands), "listing")
    hands.complete([task], [1, 2])
    for task in hands.claim():
        log(hands, task, f"{task.task_index} a", f"{task.task_index} b")
    [one, _] = hands.rows(
        "select claim_token, message_id from pgflow.step_tasks"
        " where claim_token is not null order by task_index"
    )
    write(hands, [Said(one[1], one[0])], Line(one[0], 3, 0.0, "error", "0 c"))
    assert told(hands, run, step="each", task_index=0) == ["0 a", "0 b", "0 c"]
    assert told(hands, run, step="list") == ["listing"]
    assert told(hands, run, attempt=2) == []
    assert told(hands, run, levels=["warning", "error"]) == ["0 c"]
    assert told(hands, run, newest=True, most=2) == ["1 b", "0 c"]
    assert told(hands, run, most=2) == ["listing", "0 a"]
    last = rows(hands, run, most=2)[-1]
    assert told(hands, run, after_xid=last.xid, after_log=last.log_id) == [
        "0 b",
        "1 a",
        "1 b",
        "0 c",
    ]
    assert [row.message for row in rows(hands, run, step="total")] == [None]


def test_a_reader_misses_no_line_however_late_its_transaction_commits(
    hands: Hands, connect: Connect
) -> None:
    hands.define(spread("each"))
    [run] = hands.start("each")
    hands.complete(hands.claim(), [1, 2])
    one, two = hands.claim()
    other = Hands(connect(), lanes=hands.lanes)
    seen = rows(hands, run)[0].snapshot
    with transaction(other.conn):
        log(other, one, "late")
        log(hands, two, "a", "b", "c")
        first = rows(hands, run, seen=seen, most=2)
        assert [row.message for row in first] == ["a", "b"]
        rest = {"until": first[0].snapshot, "after_xid": first[1].xid, "after_log": first[1].log_id}
        assert told(hands, run, seen=seen, **rest) == ["c"]
    seen = first[0].snapshot
    assert told(hands, run, seen=seen) == ["late"]
    assert told(hands, run, seen=rows(hands, run, seen=seen)[0].snapshot) == []


def test_lines_that_were_restored_on_another_server_are_told_once(hands: Hands) -> None:
    """Its transactions may have numbers that this server has yet to give."""
    hands.define(single("one"))
    [run] = hands.start("one")
    task = only(hands)
    log(hands, task, "a", "b", "c")
    hands.conn.execute("update pgflow.logs set xid = (xid::text::bigint + 1000000)::text::xid8")
    first = rows(hands, run, most=2)
    assert [row.message for row in first] == ["a", "b"]
    rest = {"until": first[0].snapshot, "after_xid": first[1].xid, "after_log": first[1].log_id}
    assert told(hands, run, **rest) == ["c"]
    log(hands, task, "d", first=4)
    assert told(hands, run, seen=first[0].snapshot) == ["d"]


def test_who_holds_the_task_is_not_waited_for(hands: Hands, connect: Connect) -> None:
    hands.define(single("one"))
    [run] = hands.start("one")
    task, other = only(hands), Hands(connect(), lanes=hands.lanes)
    with transaction(other.conn):
        other.complete([task])  # lines are not in its way, nor it in theirs
        assert waits_for_none(lambda: log(hands, task, "a"), hands.conn) == "written"
    with transaction(other.conn):
        other.retry(run)
        other.rows("select from pgflow.step_tasks for update")
        assert waits_for_none(lambda: log(hands, task, "b", first=2), hands.conn) == "stale"
    hands.define(single("two"))
    hands.start("two")
    task = next(t for t in hands.claim() if t.flow_slug == "two")
    with transaction(other.conn):
        other.rows("select from pgflow.step_tasks for update")
        assert waits_for_none(lambda: log(hands, task, "c"), hands.conn) == "busy"
    assert log(hands, task, "c") == "written"


def test_who_deletes_a_run_leaves_no_line_of_it(hands: Hands, connect: Connect) -> None:
    hands.define(single("one"))
    [run] = hands.start("one")
    task, writer, other = only(hands), Hands(connect()), Hands(connect())
    with transaction(writer.conn):
        write(writer, [Said(task.message_id, task.claim_token, 0.5, None, 0.0)])
        log(writer, task, "a")
        assert hands.cancel(run)
        gone = held_up(
            lambda: other.rows("select pgflow.delete_run(run_id => %s)", run),
            other.conn,
            writer.conn,
        )
    assert gone.result(10) == [(True,)]
    assert hands.rows("select from pgflow.logs") == hands.rows("select from pgflow.progress") == []


@pytest.mark.parametrize(
    "gone",
    [
        "pgflow.delete_run((select run_id from pgflow.runs))",
        "pgflow.prune(1e-9)",
        "pgflow.prune_data_older_than('0')",
        "pgflow.delete_flow_and_data('one')",
        "pgflow.delete_flow('one')",
    ],
)
def test_lines_and_progress_go_with_their_run(hands: Hands, gone: LiteralString) -> None:
    hands.define(single("one"))
    hands.register()
    hands.start("one")
    task = only(hands)
    log(hands, task, "a", "b")
    write(hands, [Said(task.message_id, task.claim_token, 0.5, None, 0.0)])
    hands.complete([task])
    hands.at("1 hour")
    hands.rows("select " + gone)
    assert hands.rows("select from pgflow.runs") == []
    assert hands.rows("select from pgflow.logs") == hands.rows("select from pgflow.progress") == []


def test_runs_with_many_lines_go_a_few_at_a_time(hands: Hands) -> None:
    hands.define(single("one"))
    hands.register()
    runs = sorted(hands.start("one", *range(6)))
    hands.complete(hands.claim())
    hands.conn.execute(
        "insert into pgflow.logs"
        " (run_id, step_slug, task_index, attempt, claim_token, n, at, level, message)"
        " select r.run_id, 's0', 0, 1, 1, n, now(), 'info', ''"
        " from pgflow.runs r, generate_series(1, 12000) n where r.run_id = any (%s)",
        (runs[:4],),
    )
    hands.at("1 hour")
    bits = [prune(1e-9).on_sync(hands.conn)[0] for _ in range(4)]
    assert [bit.deleted for bit in bits] == [2, 2, 2, 0]
    assert hands.rows("select from pgflow.logs") == []


def test_reading_and_writing_look_at_one_run(hands: Hands) -> None:
    hands.define(chain("many"))
    runs = hands.start("many", *range(300))
    tasks = hands.claim()
    said = [Said(t.message_id, t.claim_token, 0.5, "x", 0.0) for t in tasks]
    lines = [Line(t.claim_token, n, 0.0, "info", "x") for t in tasks for n in (1, 2, 3)]
    write(hands, said, *lines)
    hands.conn.execute("vacuum analyze")
    last = rows(hands, runs[7])[-1]
    for call in (
        lambda: rows(hands, runs[7]),
        lambda: rows(hands, runs[7], newest=True),
        lambda: rows(hands, runs[7], seen=last.snapshot),
        lambda: progress(hands, runs[7]),
        lambda: log(hands, tasks[7], "y", first=4),
    ):
        call()
        statements = explained(hands.conn, call)
        scans = [s for each in statements for s in each.scans if s.table in ("logs", "progress")]
        assert all(scan.index and scan.rows <= 10 for scan in scans), scans
        assert max(each.buffers for each in statements) < 60
