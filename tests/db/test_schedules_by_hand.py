"""Schedules that are paused, resumed, triggered and deleted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from stepwell.db import schedule as calls
from stepwell.db.call import Call
from stepwell.errors import NotFound

from .conftest import Connect
from .hands import Hands
from .scheduling import at, clock, due, finish, fire, fire_one, info, live, put, slots
from .scheduling import hands as hands
from .scheduling import server as server
from .waiting import held_up, transaction


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
