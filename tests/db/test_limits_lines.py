"""Who waits for a slot is in nobody's way, and is woken when there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from stepwell.db.maintain import wake_stuck
from stepwell.db.steer import delete_run, pause_run, resume_run

from .gates import enqueue, runs, stages
from .gates import server as server
from .gates import shop as shop
from .hands import Hands

WRITES = "select sum(n_tup_upd + n_tup_ins + n_tup_del) from pg_stat_xact_user_tables"


def hot_first(hands: Hands) -> list[UUID]:
    enqueue(hands, 2000, "key/hot")
    return enqueue(hands, 10, "key/cold")[:1] + enqueue(hands, 3)


def hot_last(hands: Hands) -> list[UUID]:
    cold = enqueue(hands, 10, "key/cold")[:1] + enqueue(hands, 3)
    enqueue(hands, 2000, "key/hot")
    return cold


def hot_between(hands: Hands) -> list[UUID]:
    cold: list[UUID] = []
    for n in range(4):
        enqueue(hands, 500, "key/hot")
        cold += enqueue(hands, 1, f"key/cold {n}" if n % 2 else None)
    return cold


@pytest.mark.parametrize("arrive", [hot_first, hot_last, hot_between])
@pytest.mark.parametrize("want", [1, 3])
def test_a_saturated_key_blocks_nobody_in_any_order_of_arrival(
    shop: Hands, arrive: Callable[[Hands], list[UUID]], want: int
) -> None:
    [holder] = enqueue(shop, 1, "key/hot")
    assert runs(shop.claim(1)) == [holder]
    cold = set(arrive(shop))
    for _ in range(20):
        cold -= set(runs(shop.claim(want)))
        if not cold:
            break
    assert not cold
    assert shop.value("select count(*) from pgflow.slots where gate = 'key/hot'") == 1


def test_what_is_blocked_is_looked_at_once(shop: Hands) -> None:
    enqueue(shop, 1000, "key/hot")
    shop.claim(1)
    for _ in range(5):
        shop.claim(1)
    with shop.conn.transaction():
        before = shop.value(WRITES)
        for _ in range(20):
            assert shop.claim(1) == []
        assert shop.value(WRITES) == before


def test_a_lane_without_a_worker_does_not_keep_a_freed_slot(shop: Hands) -> None:
    """Of each lane the first is woken."""
    enqueue(shop, 1, "key/k")
    [task] = shop.claim()
    enqueue(shop, 1, "key/k", "print")  # older, but its worker never comes
    [mine] = enqueue(shop, 1, "key/k")
    assert shop.claim() == []
    alone = Hands(shop.conn, id=shop.id, lanes=shop.lanes[:1])
    turn = alone.complete([task], want=1)
    assert runs(turn.tasks) == [mine]
    assert stages(shop) == {"closed": 1, "ready": 1, "running": 1}
    assert shop.claim() == []  # it is blocked again
    [theirs] = shop.complete(turn.tasks, want=1).tasks
    assert theirs.flow_slug == "print"


@pytest.mark.parametrize("how", ["cancel", "pause", "cancel and delete"])
@pytest.mark.parametrize("woken", [False, True])
def test_who_leaves_the_head_of_a_line_does_not_strand_the_rest(
    shop: Hands, how: str, woken: bool
) -> None:
    ids = enqueue(shop, 4, "key/k")
    [task] = shop.claim()
    if woken:
        shop.complete([task])
        assert shop.stage(ids[1]) == "ready"
    if how == "pause":
        pause_run(ids[1]).on_sync(shop.conn)
    else:
        shop.cancel(ids[1])
    if how == "cancel and delete":
        delete_run(ids[1]).on_sync(shop.conn)
    if not woken:
        shop.complete([task])
    assert runs(shop.claim()) == [ids[2]]


def test_a_paused_task_comes_back_into_the_line(shop: Hands) -> None:
    ids = enqueue(shop, 3, "key/k")
    [task] = shop.claim()
    pause_run(ids[1]).on_sync(shop.conn)
    resume_run(ids[1]).on_sync(shop.conn)
    assert shop.claim() == []
    for following in ids[1:]:
        [task] = shop.complete([task], want=1).tasks
        assert task.run_id == following


def test_who_is_woken_for_a_slot_but_must_wait_for_its_rate_passes_it_on(shop: Hands) -> None:
    shop.limit("rate", "slow", 1, 0.001)
    shop.begin("print", rate="slow/")
    enqueue(shop, 1, "key/k")
    held = shop.claim()
    late = shop.begin("mail", rate="slow/", concurrency="key/k")
    [mine] = enqueue(shop, 1, "key/k")
    assert shop.claim() == []
    assert stages(shop) == {"running": 2, "blocked": 2}
    shop.complete(held)
    assert runs(shop.claim() or shop.claim()) == [mine]
    assert shop.stage(late) == "delayed"


def test_a_sweep_finds_who_is_blocked_for_nothing(shop: Hands) -> None:
    """The floor: whatever lost the wake-up."""
    for key in ("a", "b", "c"):
        enqueue(shop, 2, f"key/{key}")
    shop.claim()
    with shop.conn.transaction():  # such as by somebody's own SQL
        shop.conn.execute("delete from pgflow.slots where gate <> 'key/c'")
        shop.conn.execute(
            "update pgflow.step_tasks set stage = 'closed', status = 'completed',"
            " claim_token = null, completed_at = started_at where stage = 'running'"
            " and concurrency_key <> 'key/c'"
        )
        shop.conn.execute(
            "update pgflow.runs r set status = 'completed', completed_at = now() from"
            " pgflow.step_tasks t where t.run_id = r.run_id and t.stage = 'closed'"
        )
    found, after = set[str](), ""
    for _ in range(4):
        [stuck] = wake_stuck(after, 1).on_sync(shop.conn)
        found |= set(stuck.queues)
        after = stuck.last_gate or ""
    assert found == {"mail"}
    assert sorted(json.loads(task.input or "")["n"] for task in shop.claim()) == [1, 1]
    assert stages(shop) == {"closed": 2, "running": 3, "blocked": 1}
