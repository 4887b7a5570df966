"""Which events a call tells, in which order and with which keys: pgflow's, for every path."""

from __future__ import annotations

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest

from .hands import Hands
from .kinds import job, machine, says
from .realtime import install, names, sent
from .shapes import Shape, chain, flow, single, spread, step

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def supabase(hands: Hands) -> None:
    install(hands.conn)


def begun(hands: Hands, shape: Shape, input: Any = None) -> UUID:
    hands.define(shape)
    return hands.start(shape["slug"], {} if input is None else input)[0]


def task_of(hands: Hands, slug: str) -> Any:
    [task] = [task for task in hands.claim() if task.step_slug == slug]
    return task


def test_a_chain_from_its_start_to_its_end(hands: Hands) -> None:
    run = begun(hands, chain("chain"))
    assert names(hands) == ["run:started", "step:s0:started"]
    hands.drain(7)
    assert names(hands)[2:] == [
        "step:s0:completed",
        "step:s1:started",
        "step:s1:completed",
        "step:s2:started",
        "step:s2:completed",
        "run:completed",
    ]
    assert hands.rows("select distinct topic, private from realtime.sent") == [
        (f"pgflow:run:{run}", False)
    ]


def test_the_payloads_have_the_keys_and_values_of_pgflow(hands: Hands) -> None:
    run = begun(hands, single("one"), {"x": 1})
    hands.drain([7])
    started, step_started, step_completed, completed = [payload for payload, _ in sent(hands)]
    assert started == {
        "event_type": "run:started",
        "run_id": str(run),
        "flow_slug": "one",
        "input": {"x": 1},
        "status": "started",
        "remaining_steps": 1,
        "started_at": moment(hands, "select started_at from pgflow.runs"),
    }
    assert step_started == {
        "event_type": "step:started",
        "run_id": str(run),
        "step_slug": "s0",
        "status": "started",
        "started_at": moment(hands, "select started_at from pgflow.step_states"),
        "remaining_tasks": 1,
        "remaining_deps": 0,
    }
    assert step_completed == {
        "event_type": "step:completed",
        "run_id": str(run),
        "step_slug": "s0",
        "status": "completed",
        "output": [7],
        "completed_at": moment(hands, "select completed_at from pgflow.step_states"),
    }
    assert completed == {
        "event_type": "run:completed",
        "run_id": str(run),
        "flow_slug": "one",
        "status": "completed",
        "output": {"s0": [7]},
        "completed_at": moment(hands, "select completed_at from pgflow.runs"),
    }


def test_a_task_that_starts_is_tried_again_or_leaves_others_of_its_map_says_nothing(
    hands: Hands,
) -> None:
    begun(hands, spread("spread"))
    hands.complete(hands.claim(), [1, 2])
    before = names(hands)
    first, second = hands.claim()
    hands.complete([first], 1)
    hands.fail([second])
    [second] = hands.claim()
    hands.release([second])
    assert names(hands) == before
    hands.complete(hands.claim(), 2)
    assert names(hands)[len(before) :] == ["step:each:completed", "step:total:started"]


def test_an_empty_map_is_completed_without_having_started(hands: Hands) -> None:
    run = begun(hands, spread("spread"))
    hands.complete(hands.claim(), [])
    assert names(hands)[2:] == [
        "step:list:completed",
        "step:each:completed",
        "step:total:started",
    ]
    [empty] = [payload for payload, event in sent(hands) if event == "step:each:completed"]
    at = moment(hands, "select started_at from pgflow.step_states where step_slug = 'each'")
    assert empty == {
        "event_type": "step:completed",
        "run_id": str(run),
        "step_slug": "each",
        "status": "completed",
        "output": [],
        "started_at": at,
        "completed_at": at,
        "remaining_tasks": 0,
        "remaining_deps": 0,
    }


def test_a_flow_that_is_nothing_but_empty_maps_ends_in_its_start(hands: Hands) -> None:
    begun(hands, flow("empty", step("a", map=True), step("b", "a", map=True)), [])
    assert names(hands) == [
        "run:started",
        "step:a:completed",
        "step:b:completed",
        "run:completed",
    ]


def test_a_flow_without_steps_has_a_beginning_and_an_end(hands: Hands) -> None:
    hands.rows("select pgflow.create_flow('nothing')")
    hands.rows("select pgflow.start_flow('nothing', '{}')")
    assert names(hands) == ["run:started", "run:completed"]


def test_skips_and_empty_maps_come_before_what_starts(hands: Hands) -> None:
    run = begun(
        hands,
        flow(
            "mixed",
            step("list"),
            step("each", "list", map=True),
            step("skipped", "list", required={"list": {"no": 1}}),
            step("gone", "list", required={"list": {"no": 1}}, unmet="skip-cascade"),
            step("below", "gone"),
            step("after", "list", "skipped"),
        ),
    )
    hands.complete(hands.claim(), [])
    assert names(hands)[2:] == [
        "step:list:completed",
        "step:skipped:skipped",
        "step:gone:skipped",
        "step:below:skipped",
        "step:each:completed",
        "step:after:started",
    ]
    skipped = {event: payload for payload, event in sent(hands) if event.endswith("skipped")}
    at = moment(hands, "select skipped_at from pgflow.step_states where step_slug = 'gone'")
    assert skipped["step:gone:skipped"] == {
        "event_type": "step:skipped",
        "run_id": str(run),
        "flow_slug": "mixed",
        "step_slug": "gone",
        "status": "skipped",
        "skip_reason": "condition_unmet",
        "skipped_at": at,
    }
    assert skipped["step:below:skipped"]["skip_reason"] == "dependency_skipped"


def test_a_cascade_tells_its_steps_in_the_order_of_the_flow(hands: Hands) -> None:
    """pgflow tells them in the order of the alphabet."""
    steps = step("zz", required={"no": 1}, unmet="skip-cascade"), step("mm", "zz"), step("aa", "mm")
    begun(hands, flow("cascade", *steps))
    assert names(hands) == [
        "run:started",
        "step:zz:skipped",
        "step:mm:skipped",
        "step:aa:skipped",
        "run:completed",
    ]


def test_a_condition_that_fails_the_run(hands: Hands) -> None:
    strict = step("strict", "list", required={"list": {"no": 1}}, unmet="fail")
    run = begun(hands, flow("strict_flow", step("list"), strict))
    hands.complete(hands.claim(), 1)
    assert names(hands)[2:] == ["step:list:completed", "step:strict:failed", "run:failed"]
    (step_failed, _), (run_failed, _) = sent(hands)[-2:]
    assert step_failed == {
        "event_type": "step:failed",
        "run_id": str(run),
        "step_slug": "strict",
        "status": "failed",
        "error_message": "Condition not met",
        "failed_at": moment(
            hands, "select failed_at from pgflow.step_states where status = 'failed'"
        ),
    }
    assert run_failed == {
        "event_type": "run:failed",
        "run_id": str(run),
        "flow_slug": "strict_flow",
        "status": "failed",
        "error_message": "Condition not met",
        "failed_at": moment(hands, "select failed_at from pgflow.runs"),
    }


def test_a_step_out_of_attempts_fails_before_its_run(hands: Hands) -> None:
    begun(hands, single("one"))
    hands.fail(hands.claim(), "boom", permanent=True)
    assert names(hands)[2:] == ["step:s0:failed", "run:failed"]
    assert [payload["error_message"] for payload, _ in sent(hands)[-2:]] == ["boom", "boom"]


@pytest.mark.parametrize("exhausted", ["skip", "skip-cascade"])
def test_a_step_out_of_attempts_that_is_skipped(hands: Hands, exhausted: str) -> None:
    steps = step("list", exhausted=exhausted), step("each", "list", map=True), step("sum", "each")
    run = begun(hands, flow("soft", *steps))
    hands.fail(hands.claim(), "boom", permanent=True)
    after = {
        "skip": ["step:each:completed", "step:sum:started"],
        "skip-cascade": ["step:each:skipped", "step:sum:skipped", "run:completed"],
    }
    assert names(hands)[2:] == ["step:list:skipped", *after[exhausted]]
    assert sent(hands)[2][0] == {
        "event_type": "step:skipped",
        "run_id": str(run),
        "step_slug": "list",
        "status": "skipped",
        "skip_reason": "handler_failed",
        "error_message": "boom",
        "skipped_at": moment(
            hands, "select skipped_at from pgflow.step_states where step_slug = 'list'"
        ),
    }


def test_a_type_violation_fails_the_run_before_its_step(hands: Hands) -> None:
    run = begun(hands, spread("spread"))
    hands.complete(hands.claim(), "no list")
    assert names(hands)[2:] == ["run:failed", "step:list:failed"]
    (run_failed, _), (step_failed, _) = sent(hands)[-2:]
    assert set(run_failed) == {"event_type", "run_id", "flow_slug", "status", "failed_at"}
    assert run_failed["run_id"] == str(run)
    assert step_failed["error_message"] == (
        "[TYPE_VIOLATION] Map step each expects array input but dependency list produced string"
    )


def test_the_calls_of_a_worker_of_pgflow_tell_the_same(hands: Hands) -> None:
    run = begun(hands, chain("chain", 2))
    worker = uuid4()
    hands.conn.execute(
        "insert into pgflow.workers (worker_id, queue_name, function_name)"
        " values (%s, 'chain', 'f')",
        (worker,),
    )
    for slug in ("s0", "s1"):
        hands.rows(
            "select * from pgflow.start_tasks('chain',"
            " array(select message_id from pgflow.step_tasks where step_slug = %s), %s)",
            slug,
            worker,
        )
        hands.rows("select * from pgflow.complete_task(%s, %s, 0, '1')", run, slug)
    assert names(hands) == [
        "run:started",
        "step:s0:started",
        "step:s0:completed",
        "step:s1:started",
        "step:s1:completed",
        "run:completed",
    ]


def test_runs_of_a_batch_are_each_told_in_order(hands: Hands) -> None:
    hands.define(chain("chain", 2))
    runs = hands.start("chain", *range(50))
    hands.drain(1)
    alone = [
        "run:started",
        "step:s0:started",
        "step:s0:completed",
        "step:s1:started",
        "step:s1:completed",
        "run:completed",
    ]
    assert {tuple(names(hands, run)) for run in runs} == {tuple(alone)}


def test_a_start_that_is_repeated_tells_nothing(hands: Hands) -> None:
    hands.define(single("one"))
    hands.start("one", 1, keys=["k"])
    before = names(hands)
    hands.start("one", 1, keys=["k"])
    assert names(hands) == before


def test_a_cancel_tells_each_run_that_ends_by_it(hands: Hands) -> None:
    run = begun(hands, single("one"))
    hands.rows("select pgflow.cancel_run(%s, 'too late')", run)
    assert names(hands)[2:] == ["run:cancelled"]
    assert sent(hands)[-1][0] == {
        "event_type": "run:cancelled",
        "run_id": str(run),
        "flow_slug": "one",
        "status": "cancelled",
        "error_message": "too late",
        "cancelled_at": moment(hands, "select cancelled_at from pgflow.runs"),
    }


def test_a_retry_tells_that_the_run_and_its_steps_go_on(hands: Hands) -> None:
    run = begun(hands, chain("chain", 2))
    hands.complete(hands.claim(), 1)
    hands.fail(hands.claim(), permanent=True)
    before = len(names(hands))
    hands.retry(run)
    assert names(hands)[before:] == ["run:started", "step:s1:started"]
    hands.drain(1)
    assert names(hands)[-2:] == ["step:s1:completed", "run:completed"]


def test_a_condition_that_failed_a_run_is_asked_and_told_again(hands: Hands) -> None:
    run = begun(hands, flow("strict", step("a", required={"no": 1}, unmet="fail")))
    hands.retry(run)
    assert names(hands) == ["run:started", "step:a:failed", "run:failed"] * 2


def test_a_restart_tells_what_it_takes_over(hands: Hands) -> None:
    steps = step("a"), step("no", required={"no": 1}), step("b", "a"), step("c", "b")
    run = begun(hands, flow("again", *steps))
    hands.drain(1)
    [(new, _)] = hands.rows("select * from pgflow.restart_run(%s, 'b')", run)
    assert names(hands, new) == [
        "run:started",
        "step:a:completed",
        "step:no:skipped",
        "step:b:started",
    ]


def test_machines_and_jobs_tell_their_beginning_and_their_end(hands: Hands) -> None:
    hands.define(machine("shop", "first", "second"))
    hands.define(job("mail"))
    bought, sold, posted = hands.begin("shop", {"n": 1}), hands.begin("shop"), hands.begin("mail")
    dropped = hands.begin("mail")
    first = {task.run_id: task for task in hands.claim()}
    hands.commit(
        [
            says(first[bought], "next", step="second"),
            says(first[sold], "stop", error="sold out"),
            says(first[posted], "completed"),
            says(first[dropped], "cancelled", error="not any more"),
        ]
    )
    assert names(hands, bought) == ["run:started"]
    assert names(hands, sold) == ["run:started", "run:failed"]
    assert names(hands, posted) == ["run:started", "run:completed"]
    assert names(hands, dropped) == ["run:started", "run:cancelled"]
    assert sent(hands, dropped)[-1][0]["error_message"] == "not any more"
    hands.commit([says(task_of(hands, "second"), "done", result={"paid": True})])
    payload, event = sent(hands, bought)[-1]
    assert event == "run:completed"
    assert payload["output"] == {"paid": True}
    assert payload["flow_slug"] == "shop"


def moment(hands: Hands, query: LiteralString) -> str:
    """A time as Postgres writes it in JSON."""
    return hands.value("select to_jsonb((" + query + " limit 1)) #>> '{}'")


def test_times_are_times(hands: Hands) -> None:
    begun(hands, single("one"))
    at = datetime.fromisoformat(sent(hands)[0][0]["started_at"])
    assert at == hands.value("select started_at from pgflow.runs")
