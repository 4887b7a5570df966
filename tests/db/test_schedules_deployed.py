"""Schedules that are deployed again, the same or changed."""

from __future__ import annotations

from stepwell.db import schedule as calls
from stepwell.define.schedule import cron, every

from .conftest import Connect
from .hands import Hands
from .scheduling import START, at, clock, due, fire, fire_one, info, put
from .scheduling import hands as hands
from .scheduling import server as server
from .waiting import held_up, transaction


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
