"""Work that stands still is found, it alone, and what helps is said."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from stepwell.db.messages import Ending, close_messages, ensure_queue, read_messages, send_messages
from stepwell.db.steer import pause_queue
from tests.db.hands import Hands
from tests.db.shapes import chain
from tests.servers import DatabaseServer

from .patient import Plant, examined, found_in, only, slot_of_the_dead, sql, tell, unserved


@pytest.mark.parametrize("wake", ["notify", "poll"])
def test_a_database_that_is_well_has_no_findings(any_server: DatabaseServer, wake: str) -> None:
    with any_server.database(any_server.template) as dsn, psycopg.connect(dsn) as conn:
        assert [each.check for each in found_in(dsn, wake=wake)] == ["nobody_works"]
        hands = Hands(conn)
        hands.register(lease=3600)
        conn.commit()
        assert found_in(dsn, wake=wake) == []


def without_code(shop: Hands) -> None:
    shop.begin("orders")
    shop.lanes.clear()
    shop.define(chain("orders", 2))
    tell(shop)


def paused_for_long(shop: Hands) -> None:
    shop.begin("orders")
    pause_queue("orders", "ann").on_sync(shop.conn)
    long_ready(shop)


def waiting_for_long(shop: Hands) -> None:
    shop.begin("orders")
    long_ready(shop)


def long_ready(shop: Hands) -> None:
    shop.conn.execute("update pgflow.step_tasks set ready_at = pgflow.now() - interval '20 min'")


def overslept(shop: Hands) -> None:
    shop.begin("orders", delay=60)
    long_ready(shop)


def lost(shop: Hands) -> None:
    shop.begin("orders")
    shop.claim()
    shop.conn.execute(
        "update pgflow.step_tasks set queued_at = queued_at - interval '1 hour',"
        " started_at = started_at - interval '1 hour'"
    )


def crashing(shop: Hands) -> None:
    shop.begin("orders")
    shop.claim()
    shop.conn.execute("update pgflow.step_tasks set requeued_count = 2")


def nobody_woke_it(shop: Hands) -> None:
    shop.begin("orders")
    shop.conn.execute(
        "update pgflow.step_tasks set stage = 'blocked', blocked_on = 'key/x',"
        " ready_at = pgflow.now() - interval '20 min'"
    )


def missed_slot(shop: Hands) -> None:
    scheduled(shop, "pgflow.now() - interval '10 min'", None)


def failing_slot(shop: Hands) -> None:
    scheduled(shop, "pgflow.now() + interval '10 min'", "its input does not fit")


def scheduled(shop: Hands, at: LiteralString, error: str | None) -> None:
    insert: LiteralString = (
        "insert into pgflow.schedules (name, flow_slug, spec, error_message, next_at)"
        " values ('nightly', 'orders', '{\"every\": 3600}', %s, "
    )
    shop.conn.execute(insert + at + ")", (error,))


def undeliverable(shop: Hands) -> None:
    ensure_queue("images").on_sync(shop.conn)
    send_messages("images", ["1"]).on_sync(shop.conn)
    [read] = read_messages("images", 30, 1).on_sync(shop.conn)
    ending = Ending(read.msg_id, read.read_ct, "dead", error_type="E", error_message="no")
    close_messages("images", [ending]).on_sync(shop.conn)


def unread(shop: Hands) -> None:
    ensure_queue("images").on_sync(shop.conn)
    send_messages("images", ["1"]).on_sync(shop.conn)
    shop.conn.execute("update pgmq.q_images set vt = now() - interval '1 hour'")


WORK: dict[str, tuple[Plant, str, str]] = {
    "queue_not_served": (unserved, "no worker serves queue mails", "stepwell worker"),
    "no_code": (without_code, "no worker has the code of version 1 of orders", "check-deploy"),
    "paused": (paused_for_long, "the queue orders is paused", "stepwell queues resume orders"),
    "queue_is_behind": (waiting_for_long, "1 task of orders, version 1, in", "--concurrency"),
    "late_timers": (overslept, "1 task had their time and were not woken", "stepwell worker"),
    "lost_tasks": (lost, "1 task of orders: in the hands", "stepwell worker"),
    "deadly_task": (crashing, "step s0 of orders lost 2 workers in a row", "runs pause"),
    "stuck_limit": (slot_of_the_dead, "1 of whose 1 slots belong", "stepwell worker"),
    "nothing_is_open": (
        lambda shop: (shop.begin("orders"), shop.conn.execute("delete from pgflow.step_tasks")),
        "1 live run without an open task",
        "stepwell runs cancel",
    ),
    "late_schedule": (missed_slot, "schedule nightly of orders was due 10 min ago", "trigger"),
    "schedule_fails": (failing_slot, "its input does not fit", "schedules show nightly"),
    "dead_letters": (undeliverable, "queue images has 1 dead letter", "queues dead images"),
    "messages_wait": (unread, "no worker of ours reads it", "--queues images"),
    "silent_worker": (
        sql("update pgflow.workers set last_heartbeat_at = pgflow.now() - interval '90 min'"),
        "worker hands on here (pid 1) was not heard of for 90 min",
        "stepwell worker",
    ),
    "clock_skew": (
        sql("update pgflow.workers set clock_ahead = -90"),
        "the clock of worker hands on here is 90 s behind the database's",
        "timedatectl",
    ),
}


@pytest.mark.parametrize("check", WORK)
def test_work_that_stands_still_is_found(shop: Hands, dsn: str, check: str) -> None:
    plant, what, remedy = WORK[check]
    plant(shop)
    found = [each for each in found_in(dsn) if each.check != "nobody_works"]
    assert [each.check for each in found] == [check]
    assert what in found[0].what
    assert found[0].why
    assert any(remedy in each for each in found[0].remedies)


def test_a_gate_that_nobody_opened_is_found(shop: Hands, dsn: str) -> None:
    nobody_woke_it(shop)
    finding = only(dsn)
    assert finding.check == "stuck_limit"
    assert "concurrency key x, which has room: 0 of 1 slots are taken" in finding.what


def test_a_foreign_worker_that_went_without_a_word_is_no_fault(shop: Hands, dsn: str) -> None:
    shop.conn.execute(
        "insert into pgflow.workers (worker_id, queue_name, function_name, last_heartbeat_at)"
        " values (gen_random_uuid(), 'orders', 'edge', pgflow.now() - interval '1 day')"
    )
    assert found_in(dsn) == []


def test_nobody_at_all_is_worse_with_work_than_without(shop: Hands, dsn: str) -> None:
    shop.leave()
    diagnosis = examined(dsn)
    assert "nobody_works" in [e.check for e in diagnosis.findings if e.severity == "info"]
    shop.begin("orders")
    assert {each.check: each.severity for each in found_in(dsn)} == {
        "no_worker": "error",
        "nobody_works": "info",
    }
