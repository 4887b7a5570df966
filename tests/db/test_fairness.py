"""Fairness keys: a queue is shared among them, however much each of them has in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stepwell.db.maintain import forget_shares
from tests.servers import DatabaseServer

from .conftest import Connect
from .hands import Hands
from .kinds import job
from .shapes import flow, step


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def shop(hands: Hands) -> Hands:
    hands.define(job("mail", fairnessBy=["tenant"]))
    hands.register()
    return hands


def enqueue(hands: Hands, tenant: str | None, count: int, **options: Any) -> None:
    hands.started("mail", [{"tenant": tenant, "n": n} for n in range(count)], **options)


def served(hands: Hands, count: int, want: int = 1) -> Counter[str]:
    """Who gets the next turns."""
    tenants: Counter[str] = Counter()
    while tenants.total() < count and (tasks := hands.claim(min(want, count))):
        hands.complete(tasks)
        keys = [task.message_id for task in tasks]
        query = "select fairness_key from pgflow.step_tasks where message_id = any (%s)"
        tenants.update(key for (key,) in hands.rows(query, keys))
    return tenants


@pytest.mark.timeout(120)
@pytest.mark.parametrize("want", [1, 20])
def test_a_hundred_thousand_tasks_of_one_do_not_make_ten_of_another_wait(
    shop: Hands, want: int
) -> None:
    shop.start("mail", {"tenant": "large"})
    shop.conn.execute("alter table pgflow.step_tasks set (autovacuum_enabled = off)")
    shop.conn.execute(COPY)
    enqueue(shop, "small", 10)
    assert served(shop, 25, want)["small"] == 10


COPY = """
with run as (
  insert into pgflow.runs (
    run_id, flow_slug, version_id, kind, input, remaining_steps, fairness_key)
  select gen_random_uuid(), r.flow_slug, r.version_id, r.kind, r.input, 1, r.fairness_key
  from pgflow.runs r, generate_series(1, 100000) returning run_id, flow_slug, version_id
)
insert into pgflow.step_tasks (
  flow_slug, run_id, step_slug, version_id, queue, fairness_key, queued_at, ready_at)
select flow_slug, run_id, 'perform', version_id, flow_slug, 'large', now(), now() from run
"""


def test_turns_are_shared_by_weight(shop: Hands) -> None:
    enqueue(shop, "one", 200, fairness_weight=1)
    enqueue(shop, "three", 200, fairness_weight=3)
    assert abs(served(shop, 80)["three"] - 60) <= 3
    assert abs(served(shop, 80, want=10)["three"] - 60) <= 10


@pytest.mark.parametrize("want", [1, 7])
def test_keys_without_a_weight_have_the_same_share(shop: Hands, want: int) -> None:
    for tenant in "abcd":
        enqueue(shop, tenant, 50)
    shares = served(shop, 100, want)
    assert all(abs(share - 25) <= want for share in shares.values()) and len(shares) == 4


def test_who_was_idle_saved_nothing_up(shop: Hands) -> None:
    enqueue(shop, "busy", 300)
    assert served(shop, 200) == {"busy": 200}
    enqueue(shop, "idle", 100)
    assert abs(served(shop, 40)["idle"] - 20) <= 2


def test_who_had_the_queue_alone_owes_nothing_for_it(shop: Hands) -> None:
    enqueue(shop, "busy", 300)
    served(shop, 200)
    enqueue(shop, "new", 5)
    assert served(shop, 12)["new"] == 5
    assert served(shop, 50) == {"busy": 50}


def test_priority_comes_before_fairness(shop: Hands) -> None:
    enqueue(shop, "a", 20, priority=-1)
    enqueue(shop, "b", 20)
    assert served(shop, 20) == {"a": 20}
    enqueue(shop, "a", 20)
    assert abs(served(shop, 20)["b"] - 10) <= 2  # who had to wait saved nothing up either


def test_of_one_key_the_oldest_come_first(shop: Hands) -> None:
    enqueue(shop, "a", 10)
    enqueue(shop, "b", 10)
    order: list[int] = []
    while tasks := shop.claim(3):
        order += [task.message_id for task in tasks]
        shop.complete(tasks)
    for start in (0, 10):
        of_one = [i for i in order if min(order) + start <= i < min(order) + start + 10]
        assert of_one == sorted(of_one)


def test_what_has_no_key_is_a_key_too(shop: Hands) -> None:
    enqueue(shop, "large", 100)
    enqueue(shop, None, 10)
    assert served(shop, 24)[""] == 10


def test_two_workers_share_the_turns_too(shop: Hands, connect: Connect) -> None:
    other = Hands(connect(), lanes=shop.lanes)
    other.register()
    enqueue(shop, "large", 100)
    enqueue(shop, "small", 10)
    shares = Counter[str]()
    for _ in range(12):
        shares += served(shop, 1)
        shares += served(other, 1)
    assert shares["small"] == 10


def test_a_key_that_is_throttled_does_not_hold_the_others_up(shop: Hands) -> None:
    enqueue(shop, "hot", 50, concurrency="key/k")
    enqueue(shop, "cold", 10)
    held = shop.claim(1)
    cold = Counter[str]()
    for _ in range(20):
        cold += served(shop, 1)
    assert cold["cold"] == 10
    shop.complete(held)


def test_steps_of_a_flow_share_their_queue_too(hands: Hands) -> None:
    hands.define(flow("flow", step("a"), step("b", "a"), fairnessBy=["tenant"]))
    hands.register()
    hands.start("flow", *[{"tenant": "large"}] * 50, *[{"tenant": "small"}] * 3)
    turns = 0
    while hands.value(
        "select count(*) from pgflow.runs where fairness_key = 'small' and status = 'started'"
    ):
        hands.complete(hands.claim(1), want=0)
        turns += 1
    assert turns <= 16


def test_a_queue_without_keys_is_not_shared(hands: Hands) -> None:
    hands.define(job("plain"))
    hands.start("plain", *range(3))
    hands.drain()
    assert hands.rows("select * from pgflow.fair_queues") == []
    assert hands.rows("select * from pgflow.shares") == []


def test_what_need_not_be_remembered_is_forgotten(shop: Hands) -> None:
    for tenant in range(20):
        enqueue(shop, f"t{tenant}", 1)
    shop.drain()
    enqueue(shop, "last", 50)
    served(shop, 50)
    forget_shares().on_sync(shop.conn)
    assert shop.value("select count(*) from pgflow.shares") <= 1
