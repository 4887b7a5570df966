"""Concurrency limits: never more than allowed, never fewer than possible, and nobody in the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from stepwell.db.claim import Task
from stepwell.db.commit import released
from stepwell.db.maintain import wake_stuck
from stepwell.db.steer import delete_run, pause_run, resume_run
from stepwell.errors import DefinitionError
from tests.servers import DatabaseServer

from .conftest import Connect
from .hands import Hands
from .kinds import child, job, machine, says
from .shapes import flow, single, step

WRITES = "select sum(n_tup_upd + n_tup_ins + n_tup_del) from pg_stat_xact_user_tables"


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def shop(hands: Hands) -> Hands:
    hands.define(job("mail"))
    hands.define(job("print"))
    hands.register()
    return hands


def enqueue(hands: Hands, count: int, gate: str | None = None, slug: str = "mail") -> list[UUID]:
    options = {"concurrency": gate} if gate else {}
    return [row.run_id for row in hands.started(slug, [{"n": n} for n in range(count)], **options)]


def runs(tasks: Sequence[Task]) -> list[UUID]:
    return [task.run_id for task in tasks]


def stages(hands: Hands) -> dict[str, int]:
    return dict(hands.rows("select stage, count(*) from pgflow.step_tasks group by stage"))


def one_by_one(hands: Hands) -> list[int]:
    """Everything runs, as much of it at once as may; how many that were in each turn."""
    sizes: list[int] = []
    while tasks := all_that_may(hands):
        sizes.append(len(tasks))
        hands.complete(tasks)
    return sizes


def all_that_may(hands: Hands) -> list[Task]:
    """A claim says when there may be more."""
    turn = hands.commit([], 1000)
    tasks = [*turn.tasks]
    while turn.contended:
        turn = hands.commit([], 1000)
        tasks += turn.tasks
    return tasks


# --- what is allowed ---


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


# --- what is refused ---


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


# --- a capacity that changes ---


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


# --- slots are claims ---


def test_a_lost_worker_leaves_no_slot(shop: Hands) -> None:
    [first, second] = enqueue(shop, 2, "key/k")
    shop.claim()
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    other.claim()
    shop.lost()
    assert "mail" in other.reclaim().queues
    tasks = other.claim()
    assert len(tasks) == 1 and tasks[0].run_id in (first, second)
    [following] = other.complete(tasks, want=1).tasks
    other.complete([following])
    assert other.slots() == []


def test_a_worker_that_leaves_and_one_that_gives_back_leave_no_slot(shop: Hands) -> None:
    enqueue(shop, 2, "key/k")
    shop.release(shop.claim())
    assert shop.slots() == []
    assert len(shop.claim()) == 1
    shop.leave()
    assert shop.slots() == []
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    assert one_by_one(other) == [1, 1]


@pytest.mark.parametrize("outcome", ["completed", "failed", "released"])
def test_a_cancelled_body_keeps_its_slot_until_it_has_ended(shop: Hands, outcome: str) -> None:
    ids = enqueue(shop, 2, "key/k")
    [task] = shop.claim()
    assert shop.cancel(ids[0])
    assert (shop.claim(), shop.slots()) == ([], ["key/k"])
    shop.reclaim()
    assert shop.slots() == ["key/k"]
    entry = (
        released(task.message_id, task.claim_token)
        if outcome == "released"
        else says(task, outcome, error="late" if outcome == "failed" else None)
    )
    turn = shop.commit([entry], want=1)
    assert turn.stale == {task.message_id}
    assert runs(turn.tasks) == [ids[1]]
    assert shop.status(ids[0]) == "cancelled"


def test_a_cancelled_body_of_a_lost_worker_has_ended(shop: Hands) -> None:
    ids = enqueue(shop, 2, "key/k")
    shop.claim()
    other = Hands(shop.conn, lanes=shop.lanes)
    other.register()
    assert other.claim() == []
    shop.cancel(ids[0])
    shop.lost()
    assert other.reclaim().queues == ["mail"]
    assert runs(other.claim()) == [ids[1]]


def test_a_task_past_its_timeout_keeps_its_slot_until_its_worker_says_that_it_ended(
    shop: Hands,
) -> None:
    """The sweep fails the attempt; the body may run on, so the next attempt waits for it."""
    [run] = enqueue(shop, 1, "key/k")
    [task] = shop.claim()
    shop.at("5 minutes")
    shop.beat()
    assert shop.reclaim().failed == 1
    assert shop.slots() == ["key/k"]
    shop.promote()
    assert shop.claim() == []
    turn = shop.commit([says(task, "completed")], want=1)  # late, and the slot is free
    assert turn.stale == {task.message_id}
    assert runs(turn.tasks) == [run] and turn.tasks[0].attempt == 2


@pytest.mark.parametrize(
    "word", ["failed", "snooze", "cancelled", "failed_permanently", "completed"]
)
def test_every_outcome_frees_its_slot(shop: Hands, word: str) -> None:
    ids = enqueue(shop, 2, "key/k")
    [task] = shop.claim()
    more: dict[str, Any] = {
        "snooze": {"delay": 60},
        "failed": {"delay": 60, "error": "boom"},
        "failed_permanently": {"error": "boom"},
    }.get(word, {})
    turn = shop.commit([says(task, word, **more)], want=1)
    assert runs(turn.tasks) == [ids[1]]


@pytest.mark.parametrize("word", ["await", "spawn", "done", "stop", "retry"])
def test_a_machine_that_waits_holds_no_slot(shop: Hands, word: str) -> None:
    shop.define(machine("order", "place"))
    waits = enqueue(shop, 2, "key/k", "order")
    [task] = shop.claim()
    more = {"names": ["x"], "children": [child("print")], "step": "place", "delay": 60}
    turn = shop.commit([says(task, word, **more)], want=5)
    assert waits[1] in runs(turn.tasks)


# --- nobody is in the way ---


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
