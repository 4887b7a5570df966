"""What a slot does while a run of its schedule is live."""

from __future__ import annotations

from stepwell.define.schedule import every

from .conftest import Connect
from .hands import Hands
from .scheduling import at, clock, due, finish, fire, fire_one, info, live, put, slots
from .scheduling import hands as hands
from .scheduling import server as server


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
