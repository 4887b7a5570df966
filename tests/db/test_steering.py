"""What a person does to a run, a queue or a flow, and the row that it leaves."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg import errors

from stepwell.db.steer import (
    audit_of,
    delete_run,
    pause_flow,
    pause_queue,
    pause_run,
    resume_flow,
    resume_queue,
    resume_run,
    set_priority,
)
from stepwell.errors import Conflict, NotFound

from .hands import Hands
from .kinds import child, id_of, job, machine, says
from .shapes import chain, flow, single, step


def audit(hands: Hands, run: UUID | None = None) -> list[tuple[Any, ...]]:
    entries = audit_of(run).on_sync(hands.conn)
    return [(entry.action, entry.target, entry.detail) for entry in entries]


def stages(hands: Hands, run: UUID) -> list[str]:
    query = "select stage from pgflow.step_tasks where run_id = %s order by message_id"
    return [stage for (stage,) in hands.rows(query, run)]


# --- the audit trail ---


def test_what_was_done_is_on_record_with_who_did_it(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    pause_run(run, "ann").on_sync(hands.conn)
    hands.conn.execute("set pgflow.actor = 'bob'")
    resume_run(run).on_sync(hands.conn)
    hands.conn.execute("reset pgflow.actor")
    hands.cancel(run)
    entries = audit_of(run).on_sync(hands.conn)
    assert [(e.action, e.actor, e.kind, e.target) for e in entries] == [
        ("cancel", hands.value("select session_user"), "run", str(run)),
        ("resume", "bob", "run", str(run)),
        ("pause", "ann", "run", str(run)),
    ]
    assert audit_of(None, 1).on_sync(hands.conn) == entries[:1]
    assert audit_of(uuid4()).on_sync(hands.conn) == []


def test_the_time_in_the_audit_is_that_of_the_clock(hands: Hands) -> None:
    hands.at("30 days")
    pause_queue("mail").on_sync(hands.conn)
    [entry] = audit_of().on_sync(hands.conn)
    assert hands.value("select %s between pgflow.now() and pgflow.now()", entry.at)


def test_what_did_nothing_leaves_no_row(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    hands.drain()
    calls = [
        pause_run(run),
        resume_run(run),
        set_priority(run, 3),
        resume_queue("flow"),
        resume_flow("flow"),
    ]
    assert [call.on_sync(hands.conn)[0].done for call in calls] == [False] * 5
    assert not hands.cancel(run)
    assert not hands.retry(run)
    assert audit(hands) == []


def test_a_run_that_does_not_exist_cannot_be_steered(hands: Hands) -> None:
    for call in (pause_run, resume_run, delete_run):
        with pytest.raises(NotFound, match="no run"):
            call(uuid4()).on_sync(hands.conn)
    for steered in (hands.cancel, hands.retry):
        with pytest.raises(NotFound, match="no run"):
            steered(uuid4())


# --- pause and resume ---


def test_a_paused_run_begins_nothing_more_and_goes_on_where_it_was(hands: Hands) -> None:
    hands.define(flow("flow", step("a"), step("b"), step("c", "a")))
    [run] = hands.start("flow")
    [running] = hands.claim(1)
    assert pause_run(run).on_sync(hands.conn)[0].done
    assert not pause_run(run).on_sync(hands.conn)[0].done
    assert hands.claim() == []
    assert hands.complete([running], want=10).tasks == ()
    assert hands.claim() == []
    assert sorted(stages(hands, run)) == ["closed", "paused", "paused"]
    [resumed] = resume_run(run).on_sync(hands.conn)
    assert (resumed.done, resumed.queues) == (True, ["flow"])
    assert hands.drain() == 2
    assert hands.status(run) == "completed"


def test_a_resumed_task_keeps_its_place_in_the_line(hands: Hands) -> None:
    hands.define(single("flow"))
    [first], [second] = hands.start("flow"), hands.start("flow")
    pause_run(first).on_sync(hands.conn)
    resume_run(first).on_sync(hands.conn)
    assert [task.run_id for task in hands.claim()] == [first, second]


def test_time_passes_and_signals_arrive_while_a_run_is_paused(hands: Hands) -> None:
    hands.define(machine("machine", "wait", "go"))
    [sleeper], [waiter] = hands.start("machine"), hands.start("machine")
    one, two = hands.claim()
    hands.commit([says(one, "await", step="go", names=["x"], timeout=60)])
    hands.commit([says(two, "await", step="go", names=["x"], timeout=None)])
    for run in (sleeper, waiter):
        pause_run(run).on_sync(hands.conn)
    assert (stages(hands, sleeper), stages(hands, waiter)) == (["delayed"], ["parked"])
    signal(hands, waiter, "x")
    hands.at("2 minutes")
    hands.promote()
    assert hands.claim() == []
    for run in (sleeper, waiter):
        resume_run(run).on_sync(hands.conn)
    woken = {task.run_id: task.signals for task in hands.claim()}
    assert woken.keys() == {sleeper, waiter}


def test_a_paused_run_can_be_cancelled_and_a_retry_lets_it_go_on(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    pause_run(run).on_sync(hands.conn)
    assert hands.cancel(run)
    assert hands.retry(run)
    assert hands.drain() == 1


def test_nothing_is_claimed_of_a_paused_queue(hands: Hands) -> None:
    hands.define(single("mail_flow", queue="mail"))
    hands.define(single("other"))
    hands.start("mail_flow")
    hands.start("other")
    assert pause_queue("mail", "ann", "the provider is down").on_sync(hands.conn)[0].done
    assert not pause_queue("mail").on_sync(hands.conn)[0].done
    assert [task.flow_slug for task in hands.claim()] == ["other"]
    assert resume_queue("mail").on_sync(hands.conn)[0].queues == ["mail"]
    assert [task.flow_slug for task in hands.claim()] == ["mail_flow"]
    assert audit(hands) == [
        ("resume", "mail", None),
        ("pause", "mail", {"reason": "the provider is down"}),
    ]


def test_nothing_is_claimed_of_a_paused_flow_in_any_version(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    hands.start("flow")
    hands.define(chain("flow", 3))
    hands.start("flow")
    [task] = hands.claim(1)
    assert pause_flow("flow").on_sync(hands.conn)[0].done
    assert hands.complete([task], want=10).tasks == ()
    assert hands.claim() == []
    assert resume_flow("flow").on_sync(hands.conn)[0].queues == ["flow"]
    hands.drain()
    assert {status for (status,) in hands.rows("select status from pgflow.runs")} == {"completed"}


def test_a_resumed_machine_is_looked_for_in_all_its_queues(hands: Hands) -> None:
    hands.define(machine("machine", "a", "b", queue="one"))
    hands.start("machine")
    hands.commit([says(task, "next", step="b", queue="two") for task in hands.claim()])
    pause_flow("machine").on_sync(hands.conn)
    assert sorted(resume_flow("machine").on_sync(hands.conn)[0].queues) == ["one", "two"]


def test_a_flow_that_nobody_deployed_cannot_be_paused(hands: Hands) -> None:
    with pytest.raises(NotFound, match="no flow, machine or job 'nobody'"):
        pause_flow("nobody").on_sync(hands.conn)


# --- priority ---


def test_a_run_is_moved_before_others_with_all_that_comes_after(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    [first], [second] = hands.start("flow"), hands.start("flow")
    assert set_priority(second, -5).on_sync(hands.conn)[0].done
    assert not set_priority(second, -5).on_sync(hands.conn)[0].done
    for _ in range(2):
        [task] = hands.claim(1)
        assert task.run_id == second
        hands.complete([task])
    assert hands.claim(1)[0].run_id == first
    assert audit(hands) == [("set_priority", str(second), {"from": 0, "to": -5})]


def test_a_priority_has_sixteen_bits(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    with pytest.raises(errors.NumericValueOutOfRange):
        set_priority(run, 100_000).on_sync(hands.conn)


# --- delete ---


OWNED = ("step_tasks", "step_states", "attempts", "progress", "logs", "signals", "joins", "runs")


def test_a_deleted_run_leaves_only_the_audit(hands: Hands) -> None:
    hands.define(flow("flow", step("a"), step("b", maxAttempts=1)))
    [run] = hands.start("flow", keys=["k"])
    signal(hands, run, "x")
    hands.fail(hands.claim())
    assert delete_run(run, "ann").on_sync(hands.conn)[0].done
    for table in OWNED:
        assert hands.value(f"select count(*) from pgflow.{table}") == 0, table  # noqa: S608
    detail = {"flow": "flow", "status": "failed", "key": "k"}
    assert audit(hands, run) == [("delete", str(run), detail)]
    with pytest.raises(NotFound):
        delete_run(run).on_sync(hands.conn)


def test_a_live_run_is_not_deleted(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    with pytest.raises(Conflict, match=r"is live\. Cancel it first"):
        delete_run(run).on_sync(hands.conn)
    assert hands.drain() == 1


def test_the_children_of_a_deleted_run_go_on(hands: Hands) -> None:
    hands.define(machine("parent", "a", "b"))
    hands.define(job("kid"))
    [parent] = hands.start("parent")
    kid = child("kid", on_parent_end="keep")
    hands.commit([says(task, "spawn", step="b", children=[kid]) for task in hands.claim()])
    hands.cancel(parent)
    delete_run(parent).on_sync(hands.conn)
    hands.complete(hands.claim())
    assert hands.status(id_of(kid)) == "completed"
    named = "select parent_run_id from pgflow.runs where run_id = %s"
    assert hands.value(named, id_of(kid)) == parent


# --- retry ---


def test_a_retried_run_has_its_key_again(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow", keys=["k"])
    hands.cancel(run)
    [other] = hands.start("flow", keys=["k"])
    assert other != run
    with pytest.raises(Conflict, match=f"key 'k' of run {run} belongs to run {other} now"):
        hands.retry(run)
    assert hands.status(run) == "cancelled"
    hands.cancel(other)
    assert hands.retry(run)
    [row] = hands.started("flow", [{}], ["k"])
    assert (row.run_id, row.created) == (run, False)
    assert [action for action, _, _ in audit(hands, run)] == ["retry", "cancel"]


def test_a_retried_machine_repeats_its_failed_step_with_its_last_state(hands: Hands) -> None:
    hands.define(machine("machine", "a", "b", maxAttempts=1))
    [run] = hands.start("machine", {"n": 1})
    hands.commit([says(task, "next", step="b", state={"n": 2}) for task in hands.claim()])
    hands.commit([says(task, "failed", error="boom") for task in hands.claim()])
    assert hands.status(run) == "failed"
    assert hands.retry(run)
    [task] = hands.claim()
    assert (task.step_slug, task.input, task.attempt) == ("b", '{"n": 2}', 1)
    hands.commit([says(task, "done", result="ok")])
    assert hands.status(run) == "completed"


def test_a_retried_job_has_all_its_attempts_again(hands: Hands) -> None:
    hands.define(job("job", maxAttempts=2))
    [run] = hands.start("job", {"n": 1})
    for _ in range(2):
        if hands.status(run) == "failed":
            assert hands.retry(run)
        for attempt in (1, 2):
            [task] = hands.claim()
            assert task.attempt == attempt
            hands.commit([says(task, "failed", error="boom")])
    assert hands.status(run) == "failed"


def test_a_machine_does_not_go_on_at_a_step_that_is_gone(hands: Hands) -> None:
    hands.define(machine("machine", "a", "b"))
    [run] = hands.start("machine")
    hands.commit([says(task, "next", step="b") for task in hands.claim()])
    hands.cancel(run)
    hands.define(machine("machine", "a"))
    with pytest.raises(Conflict, match="ended at step 'b', which machine does not have any more"):
        hands.retry(run)


def test_a_retried_machine_that_waited_waits_on(hands: Hands) -> None:
    hands.define(machine("machine", "a", "b"))
    [run] = hands.start("machine")
    hands.commit([says(t, "await", step="b", names=["x"], timeout=None) for t in hands.claim()])
    hands.cancel(run)
    assert hands.retry(run)
    assert stages(hands, run) == ["parked"]
    assert hands.claim() == []
    signal(hands, run, "x")
    assert [task.step_slug for task in hands.claim()] == ["b"]


@pytest.mark.parametrize(("later", "stage"), [("30 seconds", "delayed"), ("2 minutes", "ready")])
def test_a_deadline_goes_on_while_a_run_is_cancelled(hands: Hands, later: str, stage: str) -> None:
    hands.define(machine("machine", "a", "b"))
    [run] = hands.start("machine")
    hands.commit([says(t, "await", step="b", names=["x"], timeout=60) for t in hands.claim()])
    hands.cancel(run)
    hands.at(later)
    assert hands.retry(run)
    assert stages(hands, run) == [stage]
    signal(hands, run, "x")
    assert [task.step_slug for task in hands.claim()] == ["b"]


def test_a_flow_step_that_waited_for_a_signal_waits_on(hands: Hands) -> None:
    approved = step("approved") | {"stepType": "signal", "signalName": "approved"}
    hands.define(flow("flow", approved, step("b", maxAttempts=1)))
    [run] = hands.start("flow")
    hands.fail(hands.claim())
    assert hands.status(run) == "failed"
    assert hands.retry(run)
    assert [task.step_slug for task in hands.claim()] == ["b"]
    signal(hands, run, "approved")
    assert [task.step_slug for task in hands.claim()] == ["approved"]


def signal(hands: Hands, run: UUID, name: str) -> None:
    hands.rows("select * from pgflow.send_signal(%s, null, %s)", run, name)


# --- slots ---


def test_a_cancelled_body_keeps_its_slot_until_it_has_ended(hands: Hands) -> None:
    hands.define(job("job"))
    first, _ = start_gated(hands, 2)
    [task] = hands.claim()
    assert task.run_id == first
    hands.cancel(first)
    assert hands.claim() == []
    hands.commit([says(task, "released")])
    assert len(hands.claim()) == 1


@pytest.mark.parametrize("steer", ["cancel", "pause"])
def test_who_was_woken_for_a_slot_passes_it_on_when_taken_away(hands: Hands, steer: str) -> None:
    hands.define(job("job"))
    _, second, third = start_gated(hands, 3)
    [task] = hands.claim()
    assert hands.claim() == []
    assert stages(hands, second) == stages(hands, third) == ["blocked"]
    hands.complete([task])
    assert (stages(hands, second), stages(hands, third)) == (["ready"], ["blocked"])
    if steer == "cancel":
        hands.cancel(second)
    else:
        pause_run(second).on_sync(hands.conn)
    assert [task.run_id for task in hands.claim()] == [third]


GATED = """
select run_id from pgflow.start_runs('job', array['{}']::jsonb[], options =>
  array['{"concurrency": "key/k"}']::jsonb[])
"""


def start_gated(hands: Hands, count: int) -> list[UUID]:
    return [hands.value(GATED) for _ in range(count)]
