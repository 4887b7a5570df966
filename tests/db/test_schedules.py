"""Each slot fires once, however many try, and after a downtime as the policy says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from stepwell.compile.schedules import deploy_schedules
from stepwell.db import schedule as calls
from stepwell.define.flow import Flow
from stepwell.define.schedule import Schedule, cron, every
from stepwell.worker import schedules as chore

from .conftest import Connect
from .explain import explained
from .hands import Hands
from .scheduling import (
    FIVE,
    On,
    at,
    clock,
    due,
    finish,
    fire,
    fire_one,
    info,
    live,
    orders,
    put,
    slots,
)
from .scheduling import hands as hands
from .scheduling import server as server
from .shapes import single
from .waiting import transaction, waits_for_none


def test_a_slot_starts_a_run_with_its_input_and_a_key(hands: Hands) -> None:
    put(hands, priority=-3)
    assert fire(hands, "2030-01-01 00:04:59.999+00") == 0
    assert fire(hands, "2030-01-01 00:05+00") == 1
    [(slug, key, priority, given)] = hands.rows(
        "select flow_slug, key, priority, input from pgflow.runs"
    )
    assert (slug, key) == ("orders", "schedule:nightly:2030-01-01T00:05:00Z")
    assert (priority, given) == (-3, {"from": "nightly"})
    found = info(hands)
    assert (found.last_slot, found.next_at) == (at("00:05"), at("00:10"))
    assert found.last_run_id == live(hands)[0]
    assert fire(hands) == 0


def test_two_workers_that_read_the_same_slot_start_one_run(hands: Hands, connect: Connect) -> None:
    put(hands)
    other = connect()
    for conn in (hands.conn, other):
        clock(conn, "2030-01-01 00:05+00")
    [mine], [theirs] = due(hands.conn), due(other)
    assert mine == theirs
    assert len(fire_one(hands.conn, mine)) == 1
    assert fire_one(other, theirs) == []
    assert slots(hands) == ["00:05:00Z"]


def test_a_slot_in_other_hands_is_not_waited_for(hands: Hands, connect: Connect) -> None:
    put(hands)
    other = connect()
    for conn in (hands.conn, other):
        clock(conn, "2030-01-01 00:05+00")
    [mine], [theirs] = due(hands.conn), due(other)
    with transaction(hands.conn):
        assert len(fire_one(hands.conn, mine)) == 1
        assert waits_for_none(lambda: fire_one(other, theirs), other) == []
    assert due(other) == []
    assert slots(hands) == ["00:05:00Z"]


def test_a_worker_that_dies_before_the_commit_leaves_the_slot_to_others(
    hands: Hands, connect: Connect
) -> None:
    put(hands)
    dying = connect()
    for conn in (hands.conn, dying):
        clock(conn, "2030-01-01 00:05+00")
    dying.execute("begin")
    assert len(fire_one(dying, due(dying)[0])) == 1
    assert fire(hands) == 0
    pid = dying.info.backend_pid
    dying.close()
    hands.rows("select pg_terminate_backend(%s, 5000)", pid)  # waits until it is gone
    assert fire(hands) == 1
    assert slots(hands) == ["00:05:00Z"]


def test_a_slot_that_was_rolled_back_fires_again(hands: Hands) -> None:
    put(hands)
    clock(hands.conn, "2030-01-01 00:05+00")
    with pytest.raises(ZeroDivisionError), transaction(hands.conn):
        fire_one(hands.conn, due(hands.conn)[0])
        raise ZeroDivisionError
    assert slots(hands) == []
    assert fire(hands) == 1


def test_a_slot_never_has_a_second_run_though_it_is_decided_about_again(hands: Hands) -> None:
    put(hands)
    assert fire(hands, "2030-01-01 00:05+00") == 1
    finish(hands, live(hands)[0])
    hands.conn.execute("update pgflow.schedules set next_at = '2030-01-01 00:05+00'")
    assert fire(hands) == 0
    assert slots(hands) == ["00:05:00Z"]


def test_a_slot_between_two_seconds_has_a_key_of_its_own(hands: Hands) -> None:
    put(hands, every(1.5), overlap="allow", catch_up="all")
    assert fire(hands, "2030-01-01 00:00:34.5+00") == 3
    assert slots(hands) == ["00:00:31.500000Z", "00:00:33Z", "00:00:34.500000Z"]


def test_a_thousand_schedules_are_due_at_once(hands: Hands) -> None:
    many = [Schedule(f"s{n}", orders.call({"n": n}), cron("0 3 * * *")) for n in range(1000)]
    asyncio.run(deploy_schedules(On(hands.conn), many))
    began = datetime.now()
    assert fire(hands, "2030-01-01 03:00+00") == 1000
    assert datetime.now() - began < timedelta(seconds=10)
    assert hands.value("select count(distinct key) from pgflow.runs") == 1000
    assert due(hands.conn) == []


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("none", []),
        ("one", ["00:20:00Z"]),
        ("all", ["00:05:00Z", "00:10:00Z", "00:15:00Z", "00:20:00Z"]),
    ],
)
def test_after_a_downtime_the_policy_says_what_is_made_up_for(
    hands: Hands, catch_up: Any, expected: list[str]
) -> None:
    put(hands, catch_up=catch_up, overlap="allow")
    assert fire(hands, "2030-01-01 00:23+00") == len(expected)
    assert slots(hands) == expected
    assert info(hands).next_at == at("00:25")
    assert fire(hands, "2030-01-01 00:25+00") == 1


def test_a_slot_is_not_missed_because_a_worker_came_a_little_late(hands: Hands) -> None:
    put(hands, catch_up="none")
    assert fire(hands, "2030-01-01 00:05:59+00") == 1
    assert fire(hands, "2030-01-01 00:11:01+00") == 0
    assert slots(hands) == ["00:05:00Z"]


def test_a_downtime_of_years_is_caught_up_with_at_once(hands: Hands) -> None:
    put(hands, cron("* * * * * *", tz="Europe/Berlin"))
    began = datetime.now()
    assert fire(hands, "2035-06-01 00:00+00") == 1
    assert datetime.now() - began < timedelta(seconds=2)
    assert info(hands).last_slot == datetime(2035, 6, 1, tzinfo=UTC)


def test_more_missed_slots_than_one_firing_takes_come_with_the_next(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chore, "MOST_SLOTS", 3)
    put(hands, catch_up="all", overlap="allow")
    clock(hands.conn, "2030-01-01 00:40+00")
    assert len(fire_one(hands.conn, due(hands.conn)[0])) == 3
    assert info(hands).next_at == at("00:20")
    assert fire(hands) == 5
    assert len(slots(hands)) == 8


def test_a_jump_of_the_clock_of_a_zone_fires_once(hands: Hands) -> None:
    clock(hands.conn, "2030-03-30 12:00+00")
    put(hands, cron("*/20 2 * * *", tz="Europe/Berlin"), overlap="allow", catch_up="all")
    assert fire(hands, "2030-03-31 12:00+00") == 1
    assert info(hands).last_slot == datetime(2030, 3, 31, 1, tzinfo=UTC)


def test_a_firing_that_cannot_start_says_why_and_harms_no_other(hands: Hands) -> None:
    gone = Schedule("broken", Flow[Any, Any]("gone").call(1), FIVE)
    fine = Schedule("nightly", orders.call(1), FIVE)
    asyncio.run(deploy_schedules(On(hands.conn), [gone, fine]))
    assert fire(hands, "2030-01-01 00:05+00") == 1
    assert "job 'gone' in this database" in (info(hands, "broken").error_message or "")
    assert info(hands, "broken").next_at == at("00:10")
    hands.define(single("gone"))
    assert fire(hands, "2030-01-01 00:10+00") == 1
    assert info(hands, "broken").error_message is None


def test_times_of_newer_code_are_left_to_newer_code(hands: Hands) -> None:
    put(hands)
    put(hands, name="newer")
    hands.conn.execute(
        """update pgflow.schedules set spec = '{"moon": "full"}' where name = 'newer'"""
    )
    assert fire(hands, "2030-01-01 00:05+00") == 1
    assert info(hands, "newer").next_at == at("00:05")


def test_the_next_slot_is_known_to_a_fraction_of_a_second(hands: Hands) -> None:
    assert calls.next_schedule().on_sync(hands.conn)[0].seconds is None
    put(hands)
    clock(hands.conn, "2030-01-01 00:04:59.75+00")
    assert calls.next_schedule().on_sync(hands.conn)[0].seconds == 0.25
    clock(hands.conn, "2030-01-01 00:06+00")
    assert calls.next_schedule().on_sync(hands.conn)[0].seconds == 0


def test_a_slot_that_waits_is_looked_at_twice_a_second(hands: Hands) -> None:
    put(hands, overlap="queue")
    fire(hands, "2030-01-01 00:05+00")
    fire(hands, "2030-01-01 00:10+00")
    assert calls.next_schedule().on_sync(hands.conn)[0].seconds == 0.5


def test_schedules_that_are_not_due_cost_nothing(hands: Hands) -> None:
    hands.conn.execute(
        "insert into pgflow.schedules (name, flow_slug, spec, next_at, paused_at)"
        " select 's' || n, 'orders', '{}', '2040-01-01', case when n % 2 = 0 then now() end"
        " from generate_series(1, 20000) n"
    )
    put(hands)
    clock(hands.conn, "2030-01-01 00:05+00")

    def look() -> None:
        assert [each.name for each in due(hands.conn)] == ["nightly"]
        assert calls.next_schedule().on_sync(hands.conn)[0].seconds == 0

    for analyzed in (False, True):
        if analyzed:
            hands.conn.execute("analyze pgflow.schedules")
        scans = [scan for said in explained(hands.conn, look) for scan in said.scans]
        of_schedules = [scan for scan in scans if scan.table == "schedules"]
        assert of_schedules and all(scan.rows <= 2 for scan in of_schedules), of_schedules


def test_a_name_that_is_no_slug_is_refused_by_the_database_too(hands: Hands) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        hands.conn.execute(
            "insert into pgflow.schedules (name, flow_slug, spec, next_at)"
            " values ('a b', 'x', '{}', now())"
        )
