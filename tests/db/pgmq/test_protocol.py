"""What a worker that was written for pgflow may count on."""

from __future__ import annotations

from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from tests.chaos.foreign import ForeignWorker
from tests.db.conftest import Connect
from tests.db.hands import Hands
from tests.db.kinds import job
from tests.db.shapes import chain, flow, single, spread, step
from tests.db.waiting import transaction, waits_for_none
from tests.servers import DatabaseServer

from .flows import foreign, read

START: LiteralString = "select * from pgflow.start_tasks(%s, %s, %s)"


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def test_a_worker_registers_with_an_insert_and_hears_that_it_shall_stop(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    assert worker.beat() is False
    hands.conn.execute("update pgflow.workers set deprecated_at = now()")
    assert worker.beat() is True
    worker.stop()
    assert hands.rows("select stopped_at >= started_at from pgflow.workers") == [(True,)]
    assert hands.rows("select function_name from pgflow.worker_functions") == [("foreign",)]


def test_a_worker_that_nobody_knows_gets_nothing(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.begin("flow")
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="step_tasks_last_worker_id_fkey"):
        hands.rows(START, "flow", [1], uuid4())


def test_a_message_is_handed_out_once(connect: Connect) -> None:
    first, second = Hands(connect()), Hands(connect())
    one = foreign(first, single("flow"))
    two = ForeignWorker(second.conn, "flow")
    two.register()
    first.begin("flow")
    messages = read(one)
    with transaction(first.conn):
        assert len(one.start(messages)) == 1
        assert waits_for_none(lambda: two.start(messages), second.conn) == []
    assert two.start(messages) == []
    assert one.start(messages) == []


def test_what_it_runs_is_hidden_until_its_timeout(hands: Hands) -> None:
    worker = foreign(hands, single("flow", timeout=60))
    hands.begin("flow")
    worker.start(read(worker, vt=5))
    for moment in ("6 seconds", "61 seconds", "70 seconds"):
        hands.at(moment)
        assert read(worker) == []


@pytest.mark.parametrize("ids", [None, [], [None], [999]])
def test_ids_that_say_nothing_get_nothing(hands: Hands, ids: list[int] | None) -> None:
    worker = foreign(hands, single("flow"))
    hands.begin("flow")
    hands.conn.execute("update pgflow.step_tasks set message_id = 1")
    start: LiteralString = "select * from pgflow.start_tasks('flow', %s::bigint[], %s)"
    assert hands.rows(start, ids, worker.id) == []
    assert hands.rows(START, "other", [1], worker.id) == []
    assert len(hands.rows(START, "flow", [1, 1, None, 2], worker.id)) == 1


def test_inputs_of_root_steps_dependents_and_elements(hands: Hands) -> None:
    worker = foreign(hands, spread("flow"))
    hands.begin("flow", {"n": 1})
    [task] = worker.start(read(worker))
    assert (task.step_slug, task.input, task.flow_input) == ("list", {}, {"n": 1})
    worker.complete(task, ["a", None])
    elements = sorted(worker.start(read(worker)), key=lambda element: element.task_index)
    assert [(e.task_index, e.input, e.flow_input) for e in elements] == [
        (0, "a", None),
        (1, None, None),
    ]
    for element in elements:
        worker.complete(element, False)
    [task] = worker.start(read(worker))
    assert (task.input, task.flow_input) == ({"each": [False, False]}, None)


def test_the_message_of_a_job_is_no_task_for_it(hands: Hands) -> None:
    """It would be claimed, and nobody could be told what it is."""
    hands.define(job("mail"))
    hands.begin("mail")
    worker = ForeignWorker(hands.conn, "mail")
    worker.register()
    [(id,)] = hands.rows("select message_id from pgflow.step_tasks")
    assert hands.rows(START, "mail", [id], worker.id) == []
    assert hands.rows("select stage from pgflow.step_tasks") == [("ready",)]


def test_one_that_says_it_stopped_may_end_what_it_has(hands: Hands) -> None:
    """pgflow's says so at the beginning of its end: what it runs is nobody else's yet."""
    worker = foreign(hands, single("flow", timeout=60))
    hands.start("flow", 1, 2)
    one, other = worker.start(read(worker))
    worker.stop()
    assert hands.reclaim().requeued == 0
    worker.complete(one, 1)
    hands.at("91 seconds")
    assert hands.reclaim().requeued == 1
    assert hands.status(one.run_id) == "completed"
    assert hands.status(other.run_id) == "started"
    assert len(read(worker)) == 1


def test_a_sweep_of_a_foreign_fleet_wakes_what_is_due(hands: Hands) -> None:
    timed = step("timed", signalTimeout=60) | {"stepType": "signal", "signalName": "never"}
    foreign(hands, flow("flow", timed, step("later", startDelay=60)))
    hands.begin("flow")
    hands.at("61 seconds")
    hands.rows("select pgflow.requeue_stalled_tasks()")
    assert hands.rows("select distinct stage from pgflow.step_tasks") == [("ready",)]


def test_a_key_of_concurrency_holds_for_foreign_workers_too(hands: Hands) -> None:
    worker = foreign(hands, flow("flow", step("s", concurrency="key/one")))
    hands.start("flow", 1, 2, 3)
    [task] = worker.start(read(worker))
    assert worker.start(read(worker)) == []
    assert hands.slots() == ["key/one"]
    worker.complete(task, 1)
    assert len(worker.start(read(worker))) == 1


def test_ours_and_a_foreign_worker_take_turns_in_one_run(hands: Hands) -> None:
    worker = foreign(hands, chain("flow", 4))
    hands.register()
    run = hands.begin("flow", 0)
    for number in range(4):
        if number % 2:
            [task] = worker.start(read(worker))
            worker.complete(task, number)
        else:
            hands.complete(hands.claim(), number)
    assert hands.rows("select status, output from pgflow.runs") == [("completed", {"s3": 3})]
    assert hands.status(run) == "completed"


def test_a_rate_holds_for_foreign_workers_too(hands: Hands) -> None:
    worker = foreign(hands, flow("flow", step("s", rate="api")))
    hands.limit("rate", "api", 1, per_second=0.1)
    hands.start("flow", 1, 2, 3)
    assert len(worker.start(read(worker))) == 1
    assert read(worker) == []
    hands.at("11 seconds")
    assert len(worker.start(read(worker))) == 1


def test_a_shared_queue_is_shared_by_foreign_workers_too(hands: Hands) -> None:
    worker = foreign(hands, single("flow", fairnessBy=["tenant"]))
    hands.start("flow", *[{"tenant": "many"}] * 8, *[{"tenant": "few"}] * 2)
    tenants = [task.flow_input["tenant"] for task in worker.start(read(worker, qty=4))]
    assert sorted(tenants) == ["few", "few", "many", "many"]


def test_what_was_cancelled_between_the_read_and_the_start_is_not_started(hands: Hands) -> None:
    worker = foreign(hands, single("flow"))
    gone, here = hands.start("flow", 1, 2)
    messages = read(worker)
    assert hands.cancel(gone)
    assert [task.run_id for task in worker.start(messages)] == [here]


def test_an_outcome_of_a_task_that_is_not_its_own_any_more_is_that_of_who_has_it(
    hands: Hands,
) -> None:
    """pgflow's calls name a task and no claim: the first outcome counts, and there is no second."""
    worker = foreign(hands, single("flow", timeout=60))
    hands.register()
    run = hands.begin("flow")
    [task] = worker.start(read(worker))
    hands.at("91 seconds")
    hands.reclaim()
    [again] = hands.claim()
    worker.complete(task, "first")
    assert hands.complete([again], "second").stale == {again.message_id}
    assert hands.rows("select output from pgflow.runs where run_id = %s", run) == [
        ({"s0": "first"},)
    ]
    worker.fail(task, "late")
    assert hands.status(run) == "completed"
