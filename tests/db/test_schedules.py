"""Each slot fires once, however many try: firing, catching up, overlap, and steering by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from stepwell.compile.schedules import deploy_schedules
from stepwell.db import schedule as calls
from stepwell.db.call import Call
from stepwell.db.schedule import Due, EnsuredSchedule, Fired
from stepwell.define.flow import Flow
from stepwell.define.schedule import Schedule, When, cron, every
from stepwell.errors import NotFound
from stepwell.worker import schedules as chore
from stepwell.worker.schedules import firing_of
from tests.servers import DatabaseServer

from .conftest import Connect
from .explain import explained
from .hands import Connection, Hands
from .shapes import single
from .waiting import held_up, transaction, waits_for_none

START = "2030-01-01 00:00:30+00"
FIVE = every(timedelta(minutes=5))
orders = Flow[Any, Any]("orders")


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def hands(hands: Hands) -> Hands:
    """With a flow to start, half a minute past midnight."""
    hands.define(single("orders"))
    clock(hands.conn, START)
    return hands


class On:
    """What a worker's link is, on a connection of the test."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    async def run(self, call: Call[Any], /) -> list[Any]:
        return call.on_sync(self.conn)


def clock(conn: Connection, moment: str) -> None:
    conn.execute("select set_config('pgflow.now', %s, false)", (moment,))


def put(hands: Hands, when: When = FIVE, name: str = "nightly", **more: Any) -> EnsuredSchedule:
    """Deploy a schedule as a worker would."""
    schedule = Schedule(name, orders.call({"from": name}), when, **more)
    return asyncio.run(deploy_schedules(On(hands.conn), [schedule]))[0]


def fire(hands: Hands, moment: str | None = None) -> int:
    """Fire all that is due, as a worker would; answers how many runs were started."""
    if moment:
        clock(hands.conn, moment)
    return asyncio.run(chore.fire_due(On(hands.conn).run))


def due(conn: Connection) -> list[Due]:
    return calls.due_schedules().on_sync(conn)


def fire_one(conn: Connection, each: Due) -> list[Fired]:
    """Fire a schedule that was read before."""
    firing = firing_of(each)
    assert firing
    call = calls.fire_schedule(
        each.name, each.next_at, firing["slots"], firing["next"], json.dumps(firing["spec"])
    )
    return call.on_sync(conn)


def slots(hands: Hands) -> list[str]:
    """The slots that have a run, oldest first."""
    rows = hands.rows("select key from pgflow.runs where key like 'schedule:%%' order by key")
    return [key.removeprefix("schedule:nightly:2030-01-01T") for (key,) in rows]


def info(hands: Hands, name: str = "nightly") -> calls.ScheduleRow:
    return calls.list_schedules(name).on_sync(hands.conn)[0]


def live(hands: Hands) -> list[UUID]:
    rows = hands.rows("select run_id from pgflow.runs where status = 'started' order by run_id")
    return [run_id for (run_id,) in rows]


def finish(hands: Hands, run_id: UUID) -> None:
    """A run ends. Cancelling is the shortest way to it."""
    assert hands.cancel(run_id)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2030-01-01T{text}").replace(tzinfo=UTC)


# --- one slot, one run ---


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


# --- downtime ---


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


# --- overlap ---


def test_skip_starts_nothing_while_a_run_is_live(hands: Hands) -> None:
    put(hands)
    fire(hands, "2030-01-01 00:05+00")
    assert fire(hands, "2030-01-01 00:10+00") == 0
    finish(hands, live(hands)[0])
    assert fire(hands) == 0
    assert fire(hands, "2030-01-01 00:15+00") == 1
    assert slots(hands) == ["00:05:00Z", "00:15:00Z"]


def test_allow_starts_one_beside_another(hands: Hands) -> None:
    put(hands, overlap="allow")
    fire(hands, "2030-01-01 00:05+00")
    assert fire(hands, "2030-01-01 00:10+00") == 1
    assert len(live(hands)) == 2


def test_queue_starts_each_slot_when_the_run_before_it_ended(hands: Hands) -> None:
    put(hands, overlap="queue")
    assert fire(hands, "2030-01-01 00:05+00") == 1
    assert fire(hands, "2030-01-01 00:10+00") == 0
    assert fire(hands, "2030-01-01 00:15+00") == 0
    assert info(hands).waiting == 2
    finish(hands, live(hands)[0])
    assert fire(hands) == 1
    assert (slots(hands)[-1], info(hands).waiting) == ("00:10:00Z", 1)
    assert fire(hands) == 0
    finish(hands, live(hands)[0])
    assert fire(hands, "2030-01-01 00:16+00") == 1
    assert (slots(hands)[-1], info(hands).waiting) == ("00:15:00Z", 0)


def test_two_workers_start_one_run_for_a_slot_that_waited(hands: Hands, connect: Connect) -> None:
    put(hands, overlap="queue")
    fire(hands, "2030-01-01 00:05+00")
    fire(hands, "2030-01-01 00:10+00")
    fire(hands, "2030-01-01 00:15+00")
    finish(hands, live(hands)[0])
    other = connect()
    clock(other, "2030-01-01 00:15+00")
    [mine], [theirs] = due(hands.conn), due(other)
    assert len(fire_one(hands.conn, mine)) == 1
    assert fire_one(other, theirs) == []
    assert (slots(hands)[-1], info(hands).waiting) == ("00:10:00Z", 1)


def test_a_long_line_of_waiting_slots_ends_at_a_thousand(hands: Hands) -> None:
    put(hands, every(1), overlap="queue", catch_up="all")
    assert fire(hands, "2030-01-01 01:00+00") == 1
    assert info(hands).waiting == 1000
    assert info(hands).next_at == at("01:00:01")


def test_all_missed_slots_of_a_queue_come_one_after_the_other(hands: Hands) -> None:
    put(hands, overlap="queue", catch_up="all")
    fire(hands, "2030-01-01 00:15+00")
    for _ in range(2):
        finish(hands, live(hands)[0])
        assert fire(hands) == 1
    assert slots(hands) == ["00:05:00Z", "00:10:00Z", "00:15:00Z"]


# --- what cannot start ---


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


# --- by hand ---


def test_a_paused_schedule_fires_nothing(hands: Hands) -> None:
    put(hands)
    assert calls.pause_schedule("nightly", "ada").on_sync(hands.conn)[0].done
    assert not calls.pause_schedule("nightly").on_sync(hands.conn)[0].done
    assert fire(hands, "2030-01-01 00:10+00") == 0
    assert calls.next_schedule().on_sync(hands.conn)[0].seconds is None


@pytest.mark.parametrize(("catch_up", "expected"), [("none", 0), ("one", 1), ("all", 3)])
def test_after_a_pause_the_policy_says_what_is_made_up_for(
    hands: Hands, catch_up: Any, expected: int
) -> None:
    put(hands, catch_up=catch_up, overlap="allow")
    calls.pause_schedule("nightly").on_sync(hands.conn)
    clock(hands.conn, "2030-01-01 00:15:10+00")
    assert calls.resume_schedule("nightly").on_sync(hands.conn)[0].done
    assert not calls.resume_schedule("nightly").on_sync(hands.conn)[0].done
    assert fire(hands) == expected
    assert fire(hands, "2030-01-01 00:20+00") == 1


def test_a_pause_that_comes_between_reading_and_firing_wins(hands: Hands, connect: Connect) -> None:
    put(hands)
    clock(hands.conn, "2030-01-01 00:05+00")
    [seen] = due(hands.conn)
    calls.pause_schedule("nightly").on_sync(connect())
    assert fire_one(hands.conn, seen) == []
    assert slots(hands) == []


def test_a_pause_waits_for_a_firing_and_comes_after_it(hands: Hands, connect: Connect) -> None:
    put(hands)
    other = connect()
    clock(hands.conn, "2030-01-01 00:05+00")
    with transaction(hands.conn):
        assert len(fire_one(hands.conn, due(hands.conn)[0])) == 1
        pausing = held_up(lambda: calls.pause_schedule("nightly").on_sync(other), other, hands.conn)
    assert pausing.result(30)[0].done
    assert fire(hands, "2030-01-01 00:10+00") == 0


def test_a_trigger_starts_a_run_now_and_moves_no_slot(hands: Hands) -> None:
    put(hands)
    calls.pause_schedule("nightly").on_sync(hands.conn)
    run_id = uuid4()
    for created in (True, False):  # a call that is repeated starts nothing more
        [started] = calls.trigger_schedule("nightly", run_id, "ada").on_sync(hands.conn)
        assert (started.run_id, started.created) == (run_id, created)
    assert live(hands) == [run_id]
    assert (info(hands).next_at, info(hands).last_slot) == (at("00:05"), None)
    assert info(hands).last_run_id == run_id


def test_a_run_that_was_triggered_counts_as_one_that_overlaps(hands: Hands) -> None:
    put(hands)
    calls.trigger_schedule("nightly", uuid4()).on_sync(hands.conn)
    assert fire(hands, "2030-01-01 00:05+00") == 0
    finish(hands, live(hands)[0])
    assert fire(hands, "2030-01-01 00:10+00") == 1
    calls.trigger_schedule("nightly", uuid4()).on_sync(hands.conn)
    finish(hands, live(hands)[-1])  # the one that was triggered; that of the slot is still live
    assert fire(hands, "2030-01-01 00:15+00") == 0


def test_what_was_done_by_hand_is_on_record(hands: Hands) -> None:
    put(hands)
    run_id = uuid4()
    calls.pause_schedule("nightly", "ada").on_sync(hands.conn)
    calls.resume_schedule("nightly", "bob").on_sync(hands.conn)
    calls.trigger_schedule("nightly", run_id).on_sync(hands.conn)
    calls.delete_schedule("nightly", "ada").on_sync(hands.conn)
    user = hands.value("select session_user")
    assert hands.rows(
        "select actor, action, kind, target, run_id from pgflow.audit order by audit_id"
    ) == [
        ("ada", "pause", "schedule", "nightly", None),
        ("bob", "resume", "schedule", "nightly", None),
        (user, "trigger", "schedule", "nightly", run_id),
        ("ada", "delete", "schedule", "nightly", None),
    ]


STEERING: dict[str, Callable[[str], Call[Any]]] = {
    "pause": calls.pause_schedule,
    "resume": calls.resume_schedule,
    "trigger": lambda name: calls.trigger_schedule(name, uuid4()),
    "delete": calls.delete_schedule,
}


@pytest.mark.parametrize("verb", STEERING)
def test_a_schedule_that_is_not_there_is_not_found(hands: Hands, verb: str) -> None:
    with pytest.raises(NotFound, match="no schedule 'nightly'"):
        STEERING[verb]("nightly").on_sync(hands.conn)


def test_what_is_deleted_fires_no_more_and_its_runs_stay(hands: Hands) -> None:
    put(hands)
    fire(hands, "2030-01-01 00:05+00")
    calls.delete_schedule("nightly").on_sync(hands.conn)
    assert fire(hands, "2030-01-01 00:10+00") == 0
    assert len(live(hands)) == 1


# --- deploying ---


def test_slots_of_old_times_do_not_fire_once_others_are_deployed(
    hands: Hands, connect: Connect
) -> None:
    put(hands, every(900))
    clock(hands.conn, "2030-01-01 00:15+00")
    [seen] = due(hands.conn)
    other = Hands(connect())
    clock(other.conn, START)
    put(other, cron("15 * * * *"))  # which has the same next slot, and another one after it
    assert info(hands).next_at == seen.next_at
    assert fire_one(hands.conn, seen) == []
    assert fire(hands) == 1
    assert info(hands).next_at == at("01:15")


def test_deploying_the_same_again_changes_nothing(hands: Hands) -> None:
    assert put(hands).status == "created"
    clock(hands.conn, "2030-01-01 00:07+00")
    before = info(hands)
    assert put(hands).status == "verified"
    assert info(hands) == before
    assert before.next_at == at("00:05")  # due: a deploy loses no slot


def test_other_times_begin_anew_and_other_options_do_not(hands: Hands) -> None:
    put(hands)
    clock(hands.conn, "2030-01-01 00:07+00")
    assert put(hands, overlap="allow").status == "updated"
    assert (info(hands).overlap, info(hands).next_at) == ("allow", at("00:05"))
    assert put(hands, every(3600)).status == "updated"
    assert (info(hands).overlap, info(hands).next_at) == ("skip", at("01:00"))


def test_what_was_paused_or_tuned_by_hand_stays_until_the_code_says_otherwise(hands: Hands) -> None:
    put(hands)
    calls.pause_schedule("nightly").on_sync(hands.conn)
    hands.conn.execute("update pgflow.schedules set overlap = 'queue'")
    put(hands)
    assert (info(hands).overlap, info(hands).paused_at is None) == ("queue", False)
    put(hands, overlap="allow")
    assert (info(hands).overlap, info(hands).paused_at is None) == ("allow", False)
    put(hands, overlap="allow", paused=True)
    assert info(hands).paused_at
    put(hands, overlap="allow")
    assert info(hands).paused_at is None


def test_a_schedule_may_be_deployed_paused_and_resumed_by_hand(hands: Hands) -> None:
    put(hands, paused=True)
    assert info(hands).paused_at
    calls.resume_schedule("nightly").on_sync(hands.conn)
    put(hands, paused=True)
    assert info(hands).paused_at is None


def test_slots_that_wait_are_forgotten_when_overlap_is_no_queue_any_more(hands: Hands) -> None:
    put(hands, overlap="queue")
    fire(hands, "2030-01-01 00:05+00")
    fire(hands, "2030-01-01 00:10+00")
    put(hands, overlap="skip")
    assert info(hands).waiting == 0


def test_two_workers_deploy_the_same_schedules_at_once(hands: Hands, connect: Connect) -> None:
    other = Hands(connect())
    clock(other.conn, START)
    with transaction(hands.conn):
        assert put(hands).status == "created"
        putting = held_up(lambda: put(other), other.conn, hands.conn)
    assert putting.result(30).status == "verified"


# --- cost ---


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
