"""delete_flow_and_data and prune_data_older_than."""

from __future__ import annotations

import json
from typing import LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from tests.db.conftest import Connect
from tests.db.shapes import flow, single, step
from tests.db.waiting import held_up, transaction

from .calls import Caller, Row, text

TABLES: tuple[LiteralString, ...] = (
    "select 'flows' as name, count(*) from pgflow.flows where flow_slug = %s",
    "select 'steps' as name, count(*) from pgflow.steps where flow_slug = %s",
    "select 'deps' as name, count(*) from pgflow.deps where flow_slug = %s",
    "select 'versions' as name, count(*) from pgflow.versions where flow_slug = %s",
    "select 'runs' as name, count(*) from pgflow.runs where flow_slug = %s",
    "select 'step_states' as name, count(*) from pgflow.step_states where flow_slug = %s",
    "select 'step_tasks' as name, count(*) from pgflow.step_tasks where flow_slug = %s",
    "select 'queue' as name, count(*) from pgmq.list_queues() where queue_name = %s",
)


def left(caller: Caller, slug: str) -> dict[str, int]:
    rows = [caller.row(query, slug) for query in TABLES]
    return {row["name"]: row["count"] for row in rows if row["count"]}


def delete(caller: Caller, slug: str) -> None:
    caller.do("select pgflow.delete_flow_and_data(%s)", slug)


def test_a_flow_is_deleted_with_all_that_it_ever_did(caller: Caller) -> None:
    for slug in ("flow", "other"):
        caller.flow(slug, ("a", ""), ("b", "a"))
        caller.start(slug)
        done = caller.start(slug)
        for name in ("a", "b"):
            caller.take(done, name)
            caller.complete(done, name)
        failed = caller.start(slug)
        caller.take(failed, "a")
        caller.do("update pgflow.steps set opt_max_attempts = 0")
        caller.fail(failed, "a")
    assert len(left(caller, "flow")) == len(TABLES)
    kept = left(caller, "other")
    delete(caller, "flow")
    assert left(caller, "flow") == {}
    assert left(caller, "other") == kept
    assert caller.value("select count(distinct run_id) from pgflow.attempts") == 1


def test_a_flow_that_is_not_there_can_be_deleted(caller: Caller) -> None:
    delete(caller, "nope")


def test_its_name_is_free_again(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    delete(caller, "flow")
    caller.flow("flow", ("b", ""))
    run = caller.start("flow")
    caller.take(run, "b")
    caller.complete(run, "b", 1)
    assert caller.run(run)["output"] == {"b": 1}


def test_a_late_outcome_of_a_deleted_run_is_nobody_s(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    run = caller.start("flow")
    caller.take(run, "a")
    delete(caller, "flow")
    assert caller.complete(run, "a") == []
    assert caller.fail(run, "a") == []


def test_who_deleted_a_flow_is_on_record(caller: Caller) -> None:
    caller.flow("flow", ("a", ""))
    caller.start("flow")
    delete(caller, "flow")
    rows = caller.rows("select action, kind, target, detail from pgflow.audit where kind = 'flow'")
    told = {"action": "delete", "kind": "flow", "target": "flow", "detail": {"runs": 1}}
    assert rows == [told]


def test_a_parent_hears_that_its_child_is_gone(caller: Caller) -> None:
    """Else it would wait for ever."""
    for shape in (flow("parent", step("make")), flow("child", step("work"))):
        caller.do("select pgflow.ensure_flow(%s)", text(shape))
    run = caller.start("parent")
    caller.take(run, "make")
    child = uuid4()
    spawn: Row = {"children": [{"slug": "child", "id": str(child), "input": {}}]}
    caller.do("select pgflow.write_one(%s, 'make', 0, 'spawn', %s, null)", run, json.dumps(spawn))
    stage: LiteralString = "select stage from pgflow.step_tasks where run_id = %s"
    assert caller.value(stage, run) == "parked"
    delete(caller, "child")
    assert caller.rows("select from pgflow.runs where run_id = %s", child) == []
    assert caller.value(stage, run) == "ready"


def test_a_start_that_is_under_way_is_deleted_too(caller: Caller, connect: Connect) -> None:
    caller.flow("flow", ("a", ""))
    starter = Caller(connect())
    with transaction(starter.conn):
        starter.start("flow")
        deleting = held_up(lambda: delete(caller, "flow"), caller.conn, starter.conn)
    deleting.result(30)
    assert left(caller, "flow") == {}


def test_a_start_that_comes_after_a_deletion_finds_no_flow(
    caller: Caller, connect: Connect
) -> None:
    caller.flow("flow", ("a", ""))
    starter = Caller(connect())
    with transaction(caller.conn):
        delete(caller, "flow")
        query: LiteralString = "select pgflow.start_runs('flow', array['1'::jsonb])"
        starting = held_up(lambda: starter.do(query), starter.conn, caller.conn)
    with pytest.raises(errors.Error, match="no flow, machine or job 'flow'"):
        starting.result(30)
    assert left(caller, "flow") == {}


# --- prune_data_older_than ---


def finished(caller: Caller, days: float, how: str = "complete") -> UUID:
    run = caller.start("flow", {})
    caller.take(run, "s0")
    caller.complete(run, "s0") if how == "complete" else caller.fail(run, "s0")
    caller.do(
        "update pgflow.runs set started_at = started_at - make_interval(days => %s::int),"
        " completed_at = completed_at - make_interval(days => %s::int),"
        " failed_at = failed_at - make_interval(days => %s::int) where run_id = %s",
        *[days] * 3,
        run,
    )
    return run


def prune(caller: Caller, interval: str) -> None:
    caller.do("select pgflow.prune_data_older_than(%s::interval)", interval)


def runs(caller: Caller) -> set[UUID]:
    return {row["run_id"] for row in caller.rows("select run_id from pgflow.runs")}


def test_runs_that_ended_long_ago_go_with_their_rows(caller: Caller) -> None:
    caller.do("select pgflow.ensure_flow(%s)", text(single("flow", maxAttempts=1)))
    old = [finished(caller, 40), finished(caller, 40, "fail")]
    kept = {finished(caller, 20), finished(caller, 20, "fail"), caller.start("flow", {})}
    caller.do("update pgflow.runs set started_at = now() - interval '90 days'")
    prune(caller, "30 days")
    assert runs(caller) == kept
    rows = caller.rows(
        "select run_id from pgflow.step_tasks union select run_id from pgflow.step_states"
        " union select run_id from pgflow.attempts"
    )
    assert not {row["run_id"] for row in rows} & set(old)


def test_a_key_that_is_still_taken_keeps_its_run(caller: Caller) -> None:
    caller.do("select pgflow.ensure_flow(%s)", text(single("flow")))
    keyed = finished(caller, 40)
    caller.do(
        "update pgflow.runs set key = 'k', key_guard = 'k', key_until = now() + interval '1 day'"
    )
    prune(caller, "30 days")
    assert runs(caller) == {keyed}
    caller.do("select set_config('pgflow.now', (now() + interval '2 days')::text, false)")
    prune(caller, "30 days")
    assert runs(caller) == set()


def test_a_run_that_somebody_holds_is_left_for_the_next_time(
    caller: Caller, connect: Connect
) -> None:
    caller.do("select pgflow.ensure_flow(%s)", text(single("flow")))
    held, free = finished(caller, 40), finished(caller, 40)
    holder = Caller(connect())
    with transaction(holder.conn):
        holder.do("select from pgflow.runs where run_id = %s for update", held)
        prune(caller, "30 days")
        assert runs(caller) == {held}
    prune(caller, "30 days")
    assert runs(caller) == set()
    assert free != held


def test_workers_that_are_silent_for_longer_go(caller: Caller) -> None:
    silent, quiet = caller.register(), caller.register()
    beat: LiteralString = (
        "update pgflow.workers set last_heartbeat_at = now() - %s::interval where worker_id = %s"
    )
    caller.do(beat, "31 days", silent)
    caller.do(beat, "29 days", quiet)
    prune(caller, "30 days")
    assert caller.rows("select worker_id from pgflow.workers") == [{"worker_id": quiet}]
