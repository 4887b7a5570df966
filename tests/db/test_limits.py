"""Concurrency limits: never more than allowed, never fewer than possible."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from stepwell.db.maintain import wake_stuck
from stepwell.errors import DefinitionError

from .conftest import Connect
from .gates import enqueue, one_by_one, runs, stages
from .gates import server as server
from .gates import shop as shop
from .hands import Hands
from .kinds import job, machine, says
from .shapes import flow, single, step


def test_of_a_bare_key_one_runs_at_a_time_and_the_oldest_first(shop: Hands) -> None:
    ids = enqueue(shop, 4, "key/order:42")
    free = enqueue(shop, 2)
    assert runs(shop.claim()) == [ids[0], *free]
    assert stages(shop) == {"running": 3, "blocked": 3}
    shop.rows(
        "select pgflow.release_tasks(array_agg(message_id), array_agg(claim_token))"
        " from pgflow.step_tasks where stage = 'running'"
    )
    assert shop.slots() == []


def test_what_frees_a_slot_brings_the_next_in_the_same_turn(shop: Hands) -> None:
    ids = enqueue(shop, 4, "key/k")
    [task] = shop.claim()
    for following in ids[1:]:
        [task] = shop.complete([task], want=1).tasks
        assert task.run_id == following
    assert shop.complete([task], want=1).tasks == ()
    assert shop.slots() == []


def test_of_a_named_limit_as_many_run_as_it_has_slots(shop: Hands) -> None:
    shop.limit("concurrency", "reports", 3)
    enqueue(shop, 8, "limit/reports/")
    assert one_by_one(shop) == [3, 3, 2]


def test_each_partition_has_its_own_slots(shop: Hands) -> None:
    shop.limit("concurrency", "reports", 2)
    for tenant in ("acme", "umbrella", "a/b"):
        enqueue(shop, 3, f"limit/reports/{tenant}")
    assert one_by_one(shop) == [6, 3]


def test_keys_are_shared_by_all_flows_machines_and_jobs(shop: Hands) -> None:
    shop.define(machine("order", "place"))
    shop.define(flow("flow", step("a", concurrency="key/k")))
    enqueue(shop, 1, "key/k")
    enqueue(shop, 1, "key/k", "print")
    enqueue(shop, 1, "key/k", "order")
    shop.start("flow")
    for _ in range(4):
        [task] = shop.claim()
        shop.commit([says(task, "done" if task.kind == "machine" else "completed")])
    assert shop.claim() == []


def test_a_step_a_map_and_a_job_take_the_partition_from_their_input(hands: Hands) -> None:
    hands.limit("concurrency", "api", 1)
    by: dict[str, Any] = {"concurrency": "limit/api/", "concurrencyBy": ["tenant"]}
    hands.define(flow("flow", step("one", **by)))
    hands.define(flow("lists", step("each", map=True, **by)))
    work = job("work")
    work["steps"][0]["options"] = by
    hands.define(work)
    hands.register()
    hands.start("flow", {"tenant": "a"}, {"tenant": "b"})
    hands.start("lists", [{"tenant": "b"}, {"tenant": "c"}, {"tenant": "c"}])
    hands.start("work", {"tenant": "c"}, {"tenant": None}, {})
    tasks = hands.claim()
    assert sorted(hands.slots()) == [f"limit/api/{tenant}" for tenant in "abc"]
    assert len(tasks) == 5  # a partition that the input does not have is no limit
    hands.complete(tasks)
    hands.drain()


@pytest.mark.parametrize("kind", ["queue", "flow"])
def test_a_cap_holds_over_all_workers_and_does_not_touch_other_queues(
    shop: Hands, connect: Connect, kind: str
) -> None:
    shop.limit(kind, "mail", 3)
    enqueue(shop, 5)
    enqueue(shop, 5, None, "print")
    other = Hands(connect(), lanes=shop.lanes)
    other.register()
    first, second = shop.claim(2), other.claim(100)
    assert Counter(task.flow_slug for task in first + second) == {"mail": 3, "print": 5}
    assert shop.claim() == []
    turn = shop.complete(first, want=0)
    assert "mail" in turn.ready
    assert {task.flow_slug for task in shop.claim()} == {"mail"}
    assert [gate for gate in shop.slots() if gate != f"{kind}/mail"] == []


def test_a_flow_may_declare_its_cap(hands: Hands) -> None:
    hands.define(single("flow", maxRunning=2))
    hands.register()
    hands.start("flow", *range(5))
    assert one_by_one(hands) == [2, 2, 1]
    hands.define(single("flow"))
    hands.start("flow", *range(5))
    assert one_by_one(hands) == [5]


def test_steps_of_a_capped_flow_are_not_handed_over_beside_the_cap(hands: Hands) -> None:
    hands.define(flow("flow", step("a"), step("b", "a"), step("c", "a"), maxRunning=1))
    hands.register()
    hands.start("flow")
    turn = hands.complete(hands.claim(), want=10)
    assert len(turn.tasks) == 1
    assert hands.slots() == ["flow/flow"]


def test_a_cap_and_a_key_are_both_kept(shop: Hands) -> None:
    shop.limit("queue", "mail", 2)
    for n in range(4):
        enqueue(shop, 2, f"key/{n}")
    assert one_by_one(shop) == [2, 2, 2, 2]


def test_pgflows_own_claim_keeps_limits_too(hands: Hands) -> None:
    hands.define(flow("flow", step("a", concurrency="key/k")))
    hands.register()
    hands.start("flow", 1, 2, 3)
    call = "select msg_id from pgflow.start_tasks('flow', %s, %s)"
    ids = [i for (i,) in hands.rows("select message_id from pgflow.step_tasks order by 1")]
    assert hands.rows(call, ids, hands.id) == [(ids[0],)]
    assert hands.rows(call, ids, hands.id) == []


def test_a_limit_that_nobody_configured_is_refused_at_the_start(shop: Hands) -> None:
    shop.limit("rate", "api", 5, 1.0)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"concurrency": "limit/none/x"}, "no concurrency limit 'none'"),
        ({"rate": "none/"}, "no rate limit 'none'"),
        (
            {"rate": "api/", "weight": 5.5},
            r"a weight of 5\.5 is above the burst of rate limit 'api'",
        ),
    ]
    for options, said in wrong:
        with pytest.raises(DefinitionError, match=said):
            shop.begin("mail", **options)
    shop.begin("mail", rate="api/", weight=5)
    shop.begin("mail", concurrency="key/none")
    assert shop.drain() == 2


def test_a_raised_capacity_counts_at_once_for_what_comes_and_soon_for_what_waits(
    shop: Hands,
) -> None:
    shop.limit("concurrency", "reports", 1)
    enqueue(shop, 6, "limit/reports/")
    held = shop.claim()
    shop.limit("concurrency", "reports", 3)
    enqueue(shop, 1, "limit/reports/")
    held += shop.claim()
    assert len(held) == 2
    for _ in range(5):  # at most one sweep for each slot
        wake_stuck("").on_sync(shop.conn)
    held += shop.claim()
    assert len(held) == 3
    shop.complete(held)
    assert one_by_one(shop) == [3, 1]


def test_under_a_lowered_capacity_nobody_begins_until_enough_have_ended(shop: Hands) -> None:
    shop.limit("concurrency", "reports", 3)
    enqueue(shop, 6, "limit/reports/")
    held = shop.claim()
    shop.limit("concurrency", "reports", 1)
    for task in held:
        shop.complete([task])
        left = shop.value("select count(*) from pgflow.slots")
        begun = shop.claim()
        assert len(begun) == (left == 0)
        shop.release(begun)
    assert one_by_one(shop) == [1, 1, 1]


@pytest.mark.parametrize("kind", ["queue", "flow"])
def test_a_lowered_cap_is_waited_for_and_a_raised_one_counts_at_once(
    shop: Hands, kind: str
) -> None:
    shop.limit(kind, "mail", 3)
    enqueue(shop, 9)
    held = shop.claim()
    shop.limit(kind, "mail", 1)
    shop.complete(held[:2])
    assert shop.claim() == []
    shop.limit(kind, "mail", 2)
    assert len(shop.claim()) == 1
