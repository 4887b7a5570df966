"""Rate limits: in no span of time more than the burst and what it earns, in order, and cheaply."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Any

import pytest

from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import job
from .shapes import flow, step

Tick = Callable[[float], None]
Start = tuple[float, int, float]  # when, which, how much

EPSILON = 1e-3
READY = "select count(*) from pgflow.step_tasks where stage = 'ready'"
WRITES = (
    "select coalesce(sum(n_tup_upd), 0) from pg_stat_xact_user_tables where relname = 'step_tasks'"
)


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def shop(hands: Hands) -> Hands:
    hands.define(job("call"))
    hands.register(lease=10**9)
    return hands


@pytest.fixture
def tick(shop: Hands) -> Tick:
    """Move the clock to so many seconds after it was first asked; it stands still in between."""

    def move(seconds: float) -> None:
        shop.conn.execute(
            "select set_config('pgflow.now',"
            " (timestamptz '2030-01-01 00:00Z' + make_interval(secs => %s))::text, false)",
            (seconds,),
        )

    move(0)
    return move


def enqueue(
    hands: Hands, count: int, rate: str | None = "api/", weight: float = 1, first: int = 0
) -> None:
    options: dict[str, Any] = {"rate": rate, "weight": weight} if rate else {}
    hands.started("call", [{"n": first + n, "weight": weight} for n in range(count)], **options)


def starts(hands: Hands, now: float, want: int = 1000, promote: bool = True) -> list[Start]:
    """What begins at this moment, and ends in it."""
    if promote:
        hands.promote()
    begun: list[Start] = []
    turn = hands.commit([], want)
    while turn.tasks or turn.contended:
        for task in turn.tasks:
            said = json.loads(task.input or "")
            begun.append((now, said["n"], said["weight"]))
        turn = hands.complete(turn.tasks, want=want)
    return begun


def most_above(begun: list[Start], burst: float, per_second: float) -> float:
    """By how much any span of time has more than it may: the burst and what it earns."""
    spent = [0.0, *accumulate(weight for _, _, weight in begun)]
    return max(
        spent[last + 1] - spent[first] - burst - per_second * (begun[last][0] - begun[first][0])
        for first in range(len(begun))
        for last in range(first, len(begun))
    )


@pytest.mark.parametrize(
    ("burst", "per_second", "step"), [(10, 5.0, 0.1), (1, 5.0, 0.05), (3, 0.5, 1.0), (5, 7.0, 0.6)]
)
def test_no_span_of_time_has_more_than_the_burst_and_what_it_earns(
    shop: Hands, tick: Tick, burst: int, per_second: float, step: float
) -> None:
    shop.limit("rate", "api", burst, per_second)
    enqueue(shop, 200)
    begun: list[Start] = []
    for turn in range(120):
        tick(turn * step)
        begun += starts(shop, turn * step)
    assert most_above(begun, burst, per_second) < EPSILON
    earned = min(200, burst + per_second * 119 * step)
    assert len(begun) > earned * 0.95 - 1  # and not much less
    assert all(abs(n - place) <= burst for place, (_, n, _) in enumerate(begun))


def test_weights_come_in_any_mixture_and_order(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 6, 3.0)
    random, begun = Random(7), list[Start]()
    for turn in range(150):
        tick(turn * 0.4)
        if turn < 100:
            enqueue(shop, 1, weight=random.choice([0.5, 1, 1, 2, 6]), first=turn)
        begun += starts(shop, turn * 0.4, want=random.choice([1, 5]))
    assert most_above(begun, 6, 3.0) < EPSILON
    assert sum(weight for _, _, weight in begun) > 0.7 * 3 * 60


def test_who_comes_at_random_moments_never_gets_more(shop: Hands, tick: Tick) -> None:
    """Between claims that are late, early, and of any size."""
    shop.limit("rate", "api", 4, 2.0)
    random, begun, now = Random(11), list[Start](), 0.0
    for number in range(150):
        now += random.choice([0.001, 0.1, 0.4, 3.0, 12.0])
        tick(now)
        enqueue(shop, random.randint(0, 4), first=number * 10)
        begun += starts(shop, now, random.randint(1, 5), promote=random.random() < 0.8)
    assert most_above(begun, 4, 2.0) < EPSILON
    assert len(begun) > 100


def test_each_partition_has_its_own_line(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 2, 1.0)
    for number, user in enumerate(("ann", "bob", "")):
        enqueue(shop, 5, f"api/{user}", first=number * 10)
    assert sorted(n for _, n, _ in starts(shop, 0)) == [0, 1, 10, 11, 20, 21]
    tick(1.01)
    assert sorted(n for _, n, _ in starts(shop, 1)) == [2, 12, 22]


def test_a_step_a_map_and_a_job_take_the_partition_from_their_input(hands: Hands) -> None:
    hands.limit("rate", "api", 1, 0.001)
    by = {"rate": "api/", "rateBy": ["user"], "weight": 1.0}
    hands.define(flow("flow", step("one", takes_input=True) | {"options": by}))
    hands.define(flow("lists", step("each", map=True) | {"options": by}))
    work = job("work")
    work["steps"][0]["options"] = by
    hands.define(work)
    hands.register()
    hands.start("flow", {"user": "a"}, {"user": "b"})
    hands.start("lists", [{"user": "b"}, {"user": "c"}, {"user": "c"}])
    hands.start("work", {"user": "c"}, {"user": "d"}, {})
    assert len(hands.claim()) == 5  # a, b, c and d once each, and one without a user
    assert hands.rows("select key from pgflow.buckets order by 1") == [
        (f"api/{user}",) for user in "abcd"
    ]


def test_who_waits_is_told_once_and_then_looked_at_when_its_turn_comes(
    shop: Hands, tick: Tick
) -> None:
    """10,000 in a line: one write each to stand in it, and none while it stands."""
    shop.limit("rate", "api", 10, 10.0)
    enqueue(shop, 10_000)
    with shop.conn.transaction():
        before = shop.value(WRITES)
        turns = 0
        held = shop.claim(10)
        while shop.value(READY):
            shop.claim(10)
            turns += 1
        assert shop.value(WRITES) - before == 10_000
        assert turns <= 10
        before = shop.value(WRITES)
        for _ in range(20):
            assert shop.claim(10) == []
        assert shop.value(WRITES) == before
    shop.complete(held)
    with shop.conn.transaction():
        tick(1.0)
        before = shop.value(WRITES)
        assert shop.promote().promoted == 10
        assert len(shop.claim()) == 10
        assert shop.value(WRITES) - before == 20


def test_the_timer_knows_the_turn_of_the_next(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 1, 0.5)
    enqueue(shop, 3)
    turn = shop.commit([], want=10)
    assert (len(turn.tasks), turn.delayed) == (1, True)
    due = shop.promote().next_due
    assert due is not None and abs(due - 2) < EPSILON


def test_after_a_downtime_nothing_bursts(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 10, 10.0)
    enqueue(shop, 2_000)
    begun = starts(shop, 0)
    tick(3600)
    while shop.promote().promoted:
        pass
    for turn in range(30):
        tick(3600 + turn / 10)
        begun += starts(shop, 3600 + turn / 10)
    assert most_above(begun, 10, 10.0) < EPSILON
    assert len(begun) > 35


def test_a_pause_of_all_workers_keeps_the_order_of_the_line(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 1, 1.0)
    enqueue(shop, 30)
    begun = starts(shop, 0)
    for turn in range(60):
        now = turn + (8.5 if turn > 5 else 0)
        tick(now)
        begun += starts(shop, now)
    assert most_above(begun, 1, 1.0) < EPSILON
    assert [n for _, n, _ in begun] == list(range(30))


def test_who_comes_later_stands_behind_who_waits(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 2, 1.0)
    enqueue(shop, 5)
    begun = starts(shop, 0)
    for turn in range(1, 20):
        now = turn * 0.5
        tick(now)
        enqueue(shop, 1, first=5 + turn - 1)
        begun += starts(shop, now, want=1)
    assert [n for _, n, _ in begun] == list(range(len(begun)))


@pytest.mark.parametrize("want", [1, 5])
def test_who_waits_for_its_rate_is_in_nobodys_way(shop: Hands, tick: Tick, want: int) -> None:
    shop.limit("rate", "api", 1, 0.01)
    enqueue(shop, 3_000)
    enqueue(shop, 10, rate=None, first=9_000)
    free: list[int] = []
    for _ in range(30):
        tasks = shop.claim(want)
        free += [n for task in tasks if (n := json.loads(task.input or "")["n"]) >= 9_000]
    assert sorted(free) == list(range(9_000, 9_010))


def test_an_attempt_that_failed_has_spent_its_share(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 2, 1.0)
    enqueue(shop, 1)
    for _ in range(2):
        shop.fail(shop.claim())
    assert shop.claim() == []
    tick(1.01)
    assert shop.promote().promoted == 1
    assert len(shop.claim()) == 1


def test_a_rate_that_was_changed_counts_from_then_on(shop: Hands, tick: Tick) -> None:
    shop.limit("rate", "api", 1, 0.1)
    assert (enqueue(shop, 1), len(starts(shop, 0))) == (None, 1)
    shop.limit("rate", "api", 5, 100.0)
    enqueue(shop, 50)
    begun = starts(shop, 0)
    for turn in range(100):
        tick(turn / 100)
        begun += starts(shop, turn / 100)
    assert len(begun) == 50
    assert most_above(begun, 5, 100.0) < EPSILON
