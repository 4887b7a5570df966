"""What a database has before it, as numbers: the right ones, and by a bounded look."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from stepwell.compile.schedules import deploy_schedules
from stepwell.db.messages import ensure_queue, send_messages
from stepwell.db.presence import leave, register_worker
from stepwell.define.flow import Flow
from stepwell.define.schedule import Schedule, every

from .explain import explained
from .hands import Hands
from .kinds import child, job, machine, says
from .shapes import single
from .test_schedules import On

pytestmark = pytest.mark.timeout(60)
NEW_YEAR = "2030-01-01 00:00:00+00"


def clock(hands: Hands, moment: str) -> None:
    hands.conn.execute("select set_config('pgflow.now', %s, false)", (moment,))


def measured(hands: Hands, metric: str) -> dict[str, float]:
    """By label."""
    sql = "select label, value from pgflow.measure() where metric = %s"
    return dict(hands.conn.execute(sql, (metric,)).fetchall())


def test_tasks_and_messages_are_measured_by_their_queue_and_stage(hands: Hands) -> None:
    clock(hands, NEW_YEAR)
    hands.define(job("mail", queue="a/b"))
    hands.define(job("print"))
    ensure_queue("images").on_sync(hands.conn)
    hands.started("mail", [1] * 3)
    hands.started("print", [1], delay=600)
    clock(hands, "2030-01-01 00:00:30+00")
    hands.started("mail", [1] * 2)
    send_messages("images", ["1", "2"]).on_sync(hands.conn)
    clock(hands, "2030-01-01 00:01:00+00")
    assert measured(hands, "queue_ready") == {"a/b": 5, "images": 2}
    assert measured(hands, "queue_oldest_seconds")["a/b"] == 60
    assert len(hands.claim(1)) == 1
    stages = {stage: count for stage, count in measured(hands, "tasks").items() if count}
    assert stages == {"running": 1, "delayed": 1}
    assert measured(hands, "timers_late_seconds") == {"": 0}
    clock(hands, "2030-01-01 00:10:07+00")
    assert measured(hands, "timers_late_seconds") == {"": 7}


def test_limits_are_measured_whatever_is_in_their_names(hands: Hands) -> None:
    hands.define(job("mail", queue="a/b"))
    hands.define(job("print", maxRunning=4))
    hands.limit("queue", "a/b", 2)
    hands.limit("concurrency", "reports", 1)
    hands.register()
    for key in ("limit/reports/acme", "limit/reports/a/b"):
        hands.started("mail", [1] * 2, concurrency=key)
    hands.started("print", [1] * 3)
    taken = 0
    while tasks := hands.claim(10):
        taken += len(tasks)
    assert taken == 2 + 3
    assert measured(hands, "limit_capacity") == {
        "queue/a/b": 2,
        "concurrency/reports": 1,
        "flow/print": 4,
    }
    assert measured(hands, "limit_taken") == {
        "queue/a/b": 2,
        "concurrency/reports": 2,  # of all its keys
        "flow/print": 3,
    }


def test_the_earliest_slot_that_is_due_is_measured(hands: Hands) -> None:
    hands.define(single("orders"))
    clock(hands, NEW_YEAR)
    orders = Flow[Any, Any]("orders")
    schedules = [
        Schedule(name, orders.call(1), every(timedelta(minutes=minutes)), paused=paused)
        for name, minutes, paused in (("paused", 1, True), ("early", 5, False), ("late", 10, False))
    ]
    asyncio.run(deploy_schedules(On(hands.conn), schedules))
    assert measured(hands, "schedules_late_seconds") == {"": 0}
    clock(hands, "2030-01-01 00:08:00+00")
    assert measured(hands, "schedules_late_seconds") == {"": 180}


def test_measuring_reads_a_bounded_part_of_a_large_database(hands: Hands) -> None:
    hands.define(single("single"))
    with hands.conn.transaction(force_rollback=True):
        hands.conn.execute(
            "insert into pgflow.step_tasks (flow_slug, run_id, step_slug, version_id, queue,"
            " queued_at, ready_at, stage) select 'single', gen_random_uuid(), 'only', version_id,"
            " 'queue-' || n % 300, now(), now() - interval '1 minute', 'ready'"
            " from pgflow.flows, generate_series(1, 30000) n"
        )
        hands.conn.execute("analyze pgflow.step_tasks")
        sql = "select * from pgflow.measure(most_names => 20, most => 50)"
        told = explained(hands.conn, lambda: hands.conn.execute(sql))
        measured = hands.conn.execute(sql).fetchall()
    read = [
        scan.rows for statement in told for scan in statement.scans if scan.table == "step_tasks"
    ]
    assert read and sum(read) <= 20 * 50 + 100
    ready = {label: value for metric, label, value in measured if metric == "queue_ready"}
    assert len(ready) == 20 and set(ready.values()) == {50.0}
    ages = [value for metric, _, value in measured if metric == "queue_oldest_seconds"]
    assert len(ages) == 20 and min(ages) >= 60


def test_what_was_done_to_runs_lately_is_measured(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.define(machine("parent", "begin", "end"))
    hands.define(job("child"))
    nothing = {"cancel": 0, "retry": 0, "restart": 0, "delete": 0}
    assert measured(hands, "runs_steered") == nothing
    clock(hands, NEW_YEAR)
    family = hands.begin("parent")
    [task] = hands.claim(1)
    hands.commit([says(task, "spawn", step="end", children=[child("child"), child("child")])])
    runs = hands.start("flow", 1, 2, 3)
    for run in (family, *runs):
        hands.cancel(run)
    hands.conn.execute("select pgflow.retry_run(%s)", (runs[0],))
    hands.conn.execute("select pgflow.restart_run(%s)", (runs[1],))
    hands.conn.execute("select pgflow.delete_run(%s)", (runs[2],))
    hands.conn.execute("select pgflow.pause_queue('flow')")
    assert measured(hands, "runs_steered") == {"cancel": 6, "retry": 1, "restart": 1, "delete": 1}
    clock(hands, "2030-01-01 00:10:00+00")
    hands.cancel(runs[0])
    clock(hands, "2030-01-01 00:16:00+00")
    assert measured(hands, "runs_steered") == nothing | {"cancel": 1}


def test_a_worker_that_went_without_a_word_is_measured_for_a_while(hands: Hands) -> None:
    def there() -> dict[str, float]:
        return {state: count for state, count in measured(hands, "workers").items() if count}

    clock(hands, NEW_YEAR)
    lost, leaves = uuid4(), uuid4()
    for worker in (lost, leaves):
        register_worker(worker, "worker", ["mail"], 20.0, "here", 1).on_sync(hands.conn)
    clock(hands, "2030-01-01 00:00:10+00")
    leave(leaves).on_sync(hands.conn)
    clock(hands, "2030-01-01 00:00:25+00")
    assert there() == {"healthy": 1}  # nobody looked at its lease yet
    hands.reclaim()
    assert there() == {"lost": 1}
    clock(hands, "2030-01-01 00:16:00+00")
    assert there() == {}
