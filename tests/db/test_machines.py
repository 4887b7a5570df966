"""Machines and jobs: what each word of an outcome does to the one task of a run."""

from __future__ import annotations

import json
from typing import Any, LiteralString
from uuid import UUID

import pytest

from stepwell.db.claim import Task

from .hands import Hands
from .kinds import job, machine, says


@pytest.fixture
def order(hands: Hands) -> Hands:
    """A machine and a job are deployed."""
    hands.define(machine("order", "place", "ship", maxAttempts=3))
    hands.define(job("mail", maxAttempts=3))
    hands.register()
    return hands


def attempts(hands: Hands) -> list[tuple[Any, ...]]:
    return hands.rows("select step_slug, attempt, error_type, error_message from pgflow.attempts")


def claimed(hands: Hands, slug: str = "order", input: Any = None, **options: Any) -> Task:
    hands.begin(slug, input, **options)
    [task] = hands.claim(1)
    return task


# --- the words ---


def test_next_goes_on_at_another_step_with_the_new_state(order: Hands) -> None:
    task = claimed(order, input={"n": 1})
    assert (task.kind, task.step_slug, task.input) == ("machine", "place", '{"n": 1}')
    [task] = order.commit([says(task, "next", step="ship", state={"n": 2})], want=1).tasks
    assert (task.step_slug, task.attempt, task.input) == ("ship", 1, '{"n": 2}')
    assert order.rows("select input, state from pgflow.runs") == [({"n": 1}, {"n": 2})]
    assert order.rows("select count(*), min(task_index) from pgflow.step_tasks") == [(1, 0)]


def test_next_may_wait(order: Hands) -> None:
    order.stop_clock()
    task = claimed(order)
    turn = order.commit([says(task, "next", step="ship", delay=3600)], want=1)
    assert (turn.tasks, turn.ready) == ((), ("order",))  # whoever hears it looks at the timers
    due = order.promote().next_due
    assert due is not None and 3595 < due <= 3600
    order.at("1 hour 1 second")
    assert order.promote().queues == ["order"]
    assert [task.step_slug for task in order.claim()] == ["ship"]


def test_done_ends_the_run_with_its_result_and_frees_its_key(order: Hands) -> None:
    run = order.begin("order", {"n": 1}, "k")
    order.commit([says(order.claim()[0], "done", state={"n": 2}, result=[1])])
    query = "select status, output, state, key, key_guard, remaining_steps from pgflow.runs"
    assert order.rows(query) == [("completed", [1], {"n": 2}, "k", None, 0)]
    assert order.begin("order", {}, "k") != run


def test_stop_fails_the_run_with_its_reason(order: Hands) -> None:
    task = claimed(order)
    order.commit([says(task, "stop", error="nobody wants it", state={"n": 2})])
    query = "select status, error_message, failed_step, state from pgflow.runs"
    assert order.rows(query) == [("failed", "nobody wants it", "place", {"n": 2})]
    assert attempts(order) == [("place", 1, "ValueError", "nobody wants it")]


def test_a_failure_is_tried_again_with_the_state_from_before(order: Hands) -> None:
    task = claimed(order, input={"n": 1})
    for number in (1, 2, 3):
        assert (task.attempt, task.input) == (number, '{"n": 1}')
        turn = order.commit([says(task, "failed", error=f"boom {number}")], want=1)
        task = turn.tasks[0] if turn.tasks else task
    query = "select status, error_message, failed_step, state from pgflow.runs"
    assert order.rows(query) == [("failed", "boom 3", "place", {"n": 1})]
    assert [row[1] for row in attempts(order)] == [1, 2, 3]


def test_a_permanent_failure_is_not_tried_again(order: Hands) -> None:
    task = claimed(order)
    order.commit([says(task, "failed_permanently", error="no")])
    assert order.status(task.run_id) == "failed"
    assert order.claim() == []


def test_a_backoff_function_of_the_code_says_the_delay(order: Hands) -> None:
    order.stop_clock()
    task = claimed(order, "mail")
    order.commit([says(task, "failed", error="boom", delay=90)])
    due = order.promote().next_due
    assert due is not None and 89 < due <= 90


def test_retry_keeps_the_state_and_is_no_failure(order: Hands) -> None:
    task = claimed(order)
    for number in range(1, 6):  # further than max_attempts
        assert task.attempt == number
        [task] = order.commit([says(task, "retry", state={"n": number}, delay=0)], want=1).tasks
    assert (task.step_slug, task.input) == ("place", '{"n": 5}')
    assert attempts(order) == []
    order.commit([says(task, "retry", delay=60)])
    assert order.stage(task.run_id) == "delayed"


def test_a_snooze_is_no_attempt(order: Hands) -> None:
    task = claimed(order, "mail", {"user": 7})
    for _ in range(5):
        assert (task.attempt, task.input) == (1, '{"user": 7}')
        order.commit([says(task, "snooze", delay=0)])
        assert order.claim() == []  # it is never a hot loop
        order.conn.execute("update pgflow.step_tasks set ready_at = now()")
        order.promote()
        [task] = order.claim()
    order.commit([says(task, "snooze", delay=60)])
    assert order.stage(task.run_id) == "delayed"
    assert attempts(order) == []


def test_a_job_may_cancel_itself(order: Hands) -> None:
    task = claimed(order, "mail")
    order.commit([says(task, "cancelled", error="no such user")])
    query = "select status, error_message, cancelled_at is not null from pgflow.runs"
    assert order.rows(query) == [("cancelled", "no such user", True)]


def test_the_output_of_a_job_is_never_read_as_a_move(order: Hands) -> None:
    """It is the user's, whatever its keys are called."""
    order.begin("order")
    run = order.begin("mail")
    moves: dict[str, Any] = {
        "step": "ship",
        "handed": "all",
        "delay": "long",
        "state": 1,
        "timeout": {},
    }
    job, machine = sorted(order.claim(), key=lambda task: task.kind)
    order.commit([says(job, "completed", **moves), says(machine, "next", step="ship")], want=1)
    assert order.rows("select status, output from pgflow.runs where run_id = %s", run) == [
        ("completed", moves)
    ]


# --- on_error ---


def test_what_on_error_says_counts_and_the_attempt_is_on_record(order: Hands) -> None:
    task = claimed(order)
    said = says(task, "next", step="ship", after_error=True, error="boom")
    [task] = order.commit([said], want=1).tasks
    assert (task.step_slug, task.attempt) == ("ship", 1)
    assert attempts(order) == [("place", 1, "ValueError", "boom")]
    order.commit([says(task, "done", after_error=True, error="again", result=1)])
    assert order.status(task.run_id) == "completed"


def test_an_on_error_that_goes_back_to_its_step_waits_and_counts(hands: Hands) -> None:
    """Else a step that always fails would spin."""
    hands.stop_clock()
    hands.define(machine("order", "place", "ship", baseDelay=5, backoff="fixed"))
    task = claimed(hands)
    turn = hands.commit([says(task, "next", step="place", after_error=True, error="boom")], want=1)
    assert turn.tasks == ()
    due = hands.promote().next_due
    assert due is not None and 4 < due <= 5
    hands.at("6 seconds")
    hands.promote()
    [task] = hands.claim()
    assert (task.step_slug, task.attempt) == ("place", 2)


def test_a_stop_of_on_error_keeps_what_the_step_raised(order: Hands) -> None:
    task = claimed(order)
    order.commit([says(task, "stop", after_error=True, error="gave up")])
    assert order.rows("select status, error_message from pgflow.runs") == [("failed", "gave up")]
    assert [row[2] for row in attempts(order)] == ["ValueError"]


# --- what cannot be ---


@pytest.mark.parametrize("word", ["next", "await", "spawn"])
def test_a_step_that_is_none_is_a_failed_attempt_of_this_machine_alone(
    order: Hands, word: str
) -> None:
    lost, fine = order.begin("order"), order.begin("order")
    tasks = {task.run_id: task for task in order.claim()}
    for _ in range(3):
        wrong = says(tasks[lost], word, step="pack", names=["x"], children=[])
        turn = order.commit([wrong, says(tasks[fine], "next", step="ship")], want=2)
        tasks |= {task.run_id: task for task in turn.tasks}
    said = "order has no step pack: step place cannot go on there"
    assert attempts(order) == [("place", n, "UnknownStep", said) for n in (1, 2, 3)]
    query: LiteralString = "select status, error_message from pgflow.runs where run_id = %s"
    assert [order.rows(query, run) for run in (lost, fine)] == [
        [("failed", said)],
        [("started", None)],
    ]


@pytest.mark.parametrize(
    "state", [None, True, 0, 1.5, "", "x", [], [1, None], {}, {"a": {"b": [None]}}], ids=json.dumps
)
def test_a_state_is_any_json(order: Hands, state: Any) -> None:
    task = claimed(order)
    [task] = order.commit([says(task, "next", step="ship", state=state)], want=1).tasks
    assert task.input is not None and json.loads(task.input) == state
    order.commit([says(task, "done", result=state)])
    assert order.rows("select state, output from pgflow.runs") == [(state, state)]


@pytest.mark.parametrize("result", [None, False, [], {}, 0, ""], ids=json.dumps)
def test_a_result_is_any_json(order: Hands, result: Any) -> None:
    task = claimed(order)
    order.commit([says(task, "done", result=result)])
    assert order.value("select output::text from pgflow.runs") == json.dumps(result)


# --- where it goes on ---


def test_a_machine_goes_on_in_another_queue_and_priority(order: Hands) -> None:
    task = claimed(order)
    turn = order.commit([says(task, "next", step="ship", queue="slow", priority=7)], want=5)
    assert (turn.tasks, turn.ready) == ((), ("slow",))
    assert order.claim() == []
    other = Hands(order.conn, lanes=[("slow", task.version_id)])
    [task] = other.claim()
    assert order.rows("select queue, priority from pgflow.step_tasks") == [("slow", 7)]
    assert order.rows("select queue, version_id from pgflow.lanes") == [("slow", task.version_id)]
    [task] = other.commit([says(task, "next", step="place")], want=1).tasks
    assert order.rows("select queue, priority from pgflow.step_tasks") == [("slow", 7)]
    other.commit([says(task, "next", step="ship", queue="order")])
    assert len(order.claim()) == 1


def test_a_machine_starts_at_another_step_queue_and_time_if_told(order: Hands) -> None:
    run = order.begin("order", step="ship", queue="slow", delay=60, priority=-3)
    other = Hands(order.conn, lanes=[("slow", order.lanes[0][1])])
    assert other.claim() == []
    other.at("61 seconds")
    assert other.promote().queues == ["slow"]
    [task] = other.claim()
    assert (task.run_id, task.step_slug) == (run, "ship")


@pytest.mark.parametrize(("inline", "first"), [(True, "ship"), (False, "place")])
def test_a_machine_runs_ahead_of_what_is_more_urgent_unless_told_not_to(
    order: Hands, inline: bool, first: str
) -> None:
    task = claimed(order)
    order.begin("order", priority=-1)
    said = says(task, "next", step="ship", inline=inline)
    [task] = order.commit([said], want=1).tasks
    assert task.step_slug == first


def test_a_machine_that_runs_ahead_keeps_its_slot(order: Hands) -> None:
    task = claimed(order, concurrency="key/k")
    waits = order.begin("order", concurrency="key/k")
    assert order.claim() == []
    assert order.stage(waits) == "blocked"
    [ahead] = order.commit([says(task, "next", step="ship")], want=1).tasks
    assert ahead.run_id == task.run_id and ahead.claim_token != task.claim_token
    assert order.rows("select gate, claim_token from pgflow.slots") == [
        ("key/k", ahead.claim_token)
    ]
    assert order.stage(waits) == "blocked"
    [other] = order.commit([says(ahead, "done")], want=1).tasks
    assert other.run_id == waits


def test_between_its_steps_a_key_is_everybodys_where_the_machine_does_not_run_ahead(
    order: Hands,
) -> None:
    task = claimed(order, concurrency="key/k")
    waits = order.begin("order", concurrency="key/k")
    order.claim()
    turn = order.commit([says(task, "next", step="ship")])
    assert turn.ready == ("order",) and order.slots() == []
    taken = {task.run_id for task in order.claim()}
    assert len(taken) == 1 and taken <= {task.run_id, waits}


def test_a_released_key_is_free_although_its_machine_runs_ahead(order: Hands) -> None:
    task = claimed(order, concurrency="key/k")
    waits = order.begin("order", concurrency="key/k")
    order.claim()
    turn = order.commit([says(task, "next", step="ship", concurrency=None)], want=2)
    assert {each.run_id for each in turn.tasks} == {task.run_id, waits}
    assert order.slots() == ["key/k"]


def test_another_key_is_asked_for_at_a_claim(order: Hands) -> None:
    task = claimed(order, concurrency="key/a")
    holder = claimed(order, concurrency="key/b")
    turn = order.commit([says(task, "next", step="ship", concurrency="key/b")], want=2)
    assert turn.tasks == ()
    assert order.slots() == ["key/b"]
    [task] = order.commit([says(holder, "done")], want=2).tasks
    assert (task.step_slug, order.slots()) == ("ship", ["key/b"])


def test_a_machine_does_not_run_ahead_of_a_rate_limit(order: Hands) -> None:
    order.limit("rate", "api", 1, 0.01)
    task = claimed(order, rate="api/")
    turn = order.commit([says(task, "next", step="ship", rate="api/")], want=1)
    assert turn.tasks == ()
    assert order.stage(task.run_id) == "delayed"


def test_a_paused_machine_does_not_run_ahead(order: Hands) -> None:
    task = claimed(order)
    order.rows("select pgflow.pause_run(%s)", task.run_id)
    turn = order.commit([says(task, "next", step="ship", state={"n": 9})], want=1)
    assert turn.tasks == ()
    order.rows("select pgflow.resume_run(%s)", task.run_id)
    [task] = order.claim()
    assert (task.step_slug, task.input) == ("ship", '{"n": 9}')


def test_a_batch_of_every_word_is_written_together(order: Hands) -> None:
    """In one commit, each for its own run."""
    runs = [order.begin("order", {"n": n}) for n in range(6)] + [order.begin("mail")]
    by_run: dict[UUID, Task] = {task.run_id: task for task in order.claim()}
    words: list[tuple[str, dict[str, Any]]] = [
        ("next", {"step": "ship"}),
        ("await", {"step": "ship", "names": ["paid"]}),
        ("retry", {"delay": 60}),
        ("done", {"result": 1}),
        ("stop", {"error": "enough"}),
        ("spawn", {"step": "ship", "children": []}),
        ("completed", {}),
    ]
    entries = [
        says(by_run[run], word, **more) for run, (word, more) in zip(runs, words, strict=True)
    ]
    assert order.commit(entries).stale == frozenset()
    assert [(order.status(run), order.stage(run)) for run in runs] == [
        ("started", "ready"),
        ("started", "parked"),
        ("started", "delayed"),
        ("completed", "closed"),
        ("failed", "closed"),
        ("started", "ready"),
        ("completed", "closed"),
    ]


def test_a_move_under_an_old_token_is_dropped(order: Hands) -> None:
    task = claimed(order)
    order.lost()
    assert order.reclaim().requeued == 1
    [again] = order.claim()
    assert order.commit([says(task, "done", state={"late": True})]).stale == {task.message_id}
    assert order.commit([says(again, "next", step="ship")]).stale == frozenset()
    assert order.rows("select status, state from pgflow.runs") == [("started", {})]
