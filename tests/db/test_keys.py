"""Keys: one live run for each, and for as long after its end as was asked for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from stepwell.db.inspect import find_run
from stepwell.db.steer import delete_run
from stepwell.errors import Conflict
from tests.servers import DatabaseServer

from .conftest import Connect
from .hands import Hands
from .kinds import job, machine, says
from .shapes import flow, single, step
from .waiting import held_up, transaction


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def shop(hands: Hands) -> Hands:
    hands.define(job("mail", maxAttempts=1))
    return hands


def taken(hands: Hands, **options: Any) -> bool:
    """Whether the key answers with a run that was there."""
    return not hands.started("mail", [{}], ["k"], **options)[0].created


def found(hands: Hands, key: str = "k") -> list[UUID]:
    return [row.run_id for row in find_run(key).on_sync(hands.conn)]


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "cancel"])
def test_a_key_is_taken_until_its_run_has_ended_in_any_way(shop: Hands, end: str) -> None:
    run = shop.begin("mail", {}, "k")
    assert taken(shop)
    if end == "cancel":
        shop.cancel(run)
    else:
        shop.commit([says(shop.claim()[0], end, error=None if end == "completed" else "boom")])
    assert not taken(shop)
    assert shop.value("select count(*) from pgflow.runs where key = 'k'") == 2


@pytest.mark.parametrize("end", ["done", "stop"])
def test_the_key_of_a_machine_is_free_with_its_end(hands: Hands, end: str) -> None:
    hands.define(machine("order", "place"))
    run = hands.begin("order", {}, "k")
    hands.commit([says(hands.claim()[0], end, error=None if end == "done" else "boom")])
    assert hands.begin("order", {}, "k") != run


def test_the_key_of_a_flow_is_free_with_its_end(hands: Hands) -> None:
    hands.define(single("flow", maxAttempts=1))
    for fail in (True, False):
        hands.start("flow", 1, keys=["k"])
        tasks = hands.claim()
        hands.fail(tasks) if fail else hands.complete(tasks)
    [row] = hands.started("flow", [1], ["k"])
    assert row.created


def test_a_run_that_ends_at_its_start_leaves_its_key(hands: Hands) -> None:
    hands.define(flow("flow", step("each", map=True)))
    for _ in range(2):
        [row] = hands.started("flow", [[]], ["k"])
        assert row.created and hands.status(row.run_id) == "completed"


def test_a_key_may_stay_taken_as_long_as_its_run_is_kept(shop: Hands) -> None:
    run = shop.begin("mail", {}, "k", key_until="infinity")
    shop.drain()
    shop.at("1000 years")
    assert taken(shop) and found(shop) == [run]
    shop.conn.execute("reset pgflow.now")
    delete_run(run).on_sync(shop.conn)
    assert found(shop) == []
    assert not taken(shop)


def test_a_key_may_stay_taken_for_a_while_from_the_start(shop: Hands) -> None:
    shop.begin("mail", {}, "k", unique_for=3600)
    shop.drain()
    shop.at("59 minutes")
    assert taken(shop)
    shop.at("61 minutes")
    assert not taken(shop)
    assert shop.value("select count(*) from pgflow.runs where key_guard = 'k'") == 1


def test_a_key_may_stay_taken_until_a_time(shop: Hands) -> None:
    shop.begin("mail", {}, "k", key_until="2100-01-01T00:00:00Z")
    shop.drain()
    assert taken(shop)
    shop.conn.execute("set pgflow.now = '2100-01-01 00:00:01Z'")
    assert not taken(shop)


def test_a_run_that_lives_longer_than_its_key_was_to_be_kept_keeps_it(shop: Hands) -> None:
    shop.begin("mail", {}, "k", unique_for=60)
    shop.at("2 minutes")
    assert taken(shop)
    shop.drain()
    assert not taken(shop)


def test_of_two_that_take_a_key_that_was_kept_one_has_it(shop: Hands, connect: Connect) -> None:
    shop.begin("mail", {}, "k", unique_for=60)
    shop.drain()
    other = Hands(connect(), lanes=shop.lanes)
    for hands in (shop, other):
        hands.at("2 minutes")
    with transaction(shop.conn):
        assert not taken(shop)
        later = held_up(lambda: taken(other), other.conn, shop.conn)
    assert later.result(30)


def test_another_input_under_a_key_is_an_error_where_asked_for(shop: Hands) -> None:
    same: dict[str, Any] = {"a": 1, "b": [None]}
    [first] = shop.started("mail", [same], ["k"])
    [again] = shop.started("mail", [{"b": [None], "a": 1}], ["k"], check_input=True)
    assert (again.run_id, again.created) == (first.run_id, False)
    [other] = shop.started("mail", [{"a": 2}], ["k"])
    assert (other.run_id, other.created) == (first.run_id, False)
    with pytest.raises(Conflict, match="was started with another input"):
        shop.started("mail", [{"a": 2}], ["k"], check_input=True)
    assert shop.value("select count(*) from pgflow.runs") == 1


def test_the_input_of_a_machine_is_the_one_it_started_with(hands: Hands) -> None:
    hands.define(machine("order", "place", "ship"))
    run = hands.begin("order", {"n": 1}, "k")
    hands.commit([says(hands.claim()[0], "next", step="ship", state={"n": 2})])
    [again] = hands.started("order", [{"n": 1}], ["k"], check_input=True)
    assert (again.run_id, again.created) == (run, False)


def test_a_key_belongs_to_one_kind_of_run(shop: Hands) -> None:
    shop.define(machine("order", "place"))
    shop.begin("mail", {}, "k")
    with pytest.raises(Conflict, match=r"'k' belongs to run .* of job 'mail'"):
        shop.begin("order", {}, "k")


def test_a_key_finds_the_live_run_or_else_the_last(shop: Hands) -> None:
    assert found(shop) == []
    runs: list[UUID] = []
    for _ in range(3):
        runs.append(shop.begin("mail", {}, "k"))
        assert found(shop) == [runs[-1]]
        shop.drain()
        assert found(shop) == [runs[-1]]


def test_ten_thousand_keys_in_one_call_are_as_many_runs(shop: Hands) -> None:
    keys = [f"k{n % 5_000}" for n in range(10_000)]
    inputs: list[Any] = [{}] * 10_000
    rows = shop.started("mail", inputs, keys)
    assert [row.created for row in rows] == [True] * 5_000 + [False] * 5_000
    assert [row.run_id for row in rows[5_000:]] == [row.run_id for row in rows[:5_000]]
    assert sum(row.created for row in shop.started("mail", inputs, keys)) == 0


def test_a_key_that_is_freed_while_a_start_looks_for_its_run_is_taken_by_that_start(
    shop: Hands, connect: Connect
) -> None:
    shop.begin("mail", {}, "a")
    [held] = shop.claim()
    one, two = Hands(connect()), Hands(connect())
    with transaction(one.conn):
        one.begin("mail", {}, "b")
        later = held_up(  # it has met the run of "a", and waits for "b"
            lambda: two.started("mail", [1] * 4, ["a", "b", "c", "a"]), two.conn, one.conn
        )
        shop.complete([held])
    rows = later.result(30)
    assert [row.position for row in rows] == [1, 2, 3, 4]
    assert [row.created for row in rows] == [True, False, True, False]
    assert found(shop, "a") == [rows[0].run_id] == [rows[3].run_id]
    assert found(shop, "b") == [rows[1].run_id]
    assert found(shop, "c") == [rows[2].run_id]
