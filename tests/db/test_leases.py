"""Workers that come, beat, leave, or are never heard of again."""

from __future__ import annotations

from typing import LiteralString

import pytest

from .conftest import Connect
from .hands import Hands
from .shapes import flow, single, step

SILENT: LiteralString = (
    "update pgflow.workers set last_heartbeat_at = pg_postmaster_start_time() - interval '9 days'"
)


def test_a_worker_that_leaves_gives_its_claims_back_uncounted(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.start("flow", 1, 2)
    hands.register()
    tasks = hands.claim()
    hands.leave()
    assert not hands.beat().alive
    assert hands.complete(tasks).stale == {task.message_id for task in tasks}
    again = Hands(hands.conn, lanes=hands.lanes).claim()
    assert [task.attempt for task in again] == [1, 1]
    assert hands.rows("select distinct requeued_count from pgflow.step_tasks") == [(0,)]


def test_a_worker_with_nothing_in_hand_can_leave_and_leave_again(hands: Hands) -> None:
    hands.register()
    hands.leave()
    hands.leave()
    assert hands.release([]) == 0


def test_a_heartbeat_tells_what_is_still_held(hands: Hands) -> None:
    hands.define(single("flow"))
    first, _ = hands.start("flow", 1, 2)
    hands.register()
    tasks = hands.claim()
    assert sorted(hands.beat().held) == sorted(task.claim_token for task in tasks)
    hands.cancel(first)
    kept = [task.claim_token for task in tasks if task.run_id != first]
    assert hands.beat().held == kept


def test_a_heartbeat_tells_a_worker_to_drain(hands: Hands) -> None:
    hands.register()
    assert not hands.beat().draining
    hands.conn.execute("update pgflow.workers set deprecated_at = now()")
    assert hands.beat().draining


def test_a_stopped_worker_is_never_revived(hands: Hands) -> None:
    hands.register()
    hands.conn.execute("select pgflow.mark_worker_stopped(%s)", (hands.id,))
    beat = hands.beat()
    assert (beat.alive, beat.held) == (False, [])
    assert hands.value("select stopped_at is not null from pgflow.workers")


def test_a_lease_that_lapsed_is_taken_back_and_the_worker_learns_it(
    hands: Hands, connect: Connect
) -> None:
    hands.define(single("flow"))
    hands.start("flow")
    hands.register(lease=60)
    [task] = hands.claim()
    other = Hands(connect(), lanes=hands.lanes)
    other.at("50 seconds")
    assert other.reclaim().requeued == 0
    other.at("70 seconds")
    assert other.reclaim().requeued == 1
    assert not hands.beat().alive
    assert hands.complete([task]).stale == {task.message_id}
    [again] = other.claim()
    assert again.attempt == 1


def test_a_beat_keeps_a_lease_for_as_long_again(hands: Hands) -> None:
    hands.stop_clock()
    hands.define(single("flow", timeout=10_000))
    hands.start("flow")
    hands.register(lease=60)
    hands.claim()
    hands.at("50 seconds")
    assert hands.beat().alive
    hands.at("100 seconds")
    assert hands.reclaim().requeued == 0
    hands.at("120 seconds")
    assert hands.reclaim().requeued == 1


def test_after_a_restart_of_the_server_every_lease_has_its_full_length(hands: Hands) -> None:
    """This server started a while after that worker last could beat."""
    hands.define(single("flow", timeout=10**6))
    hands.start("flow")
    hands.register(lease=86400)
    hands.claim()
    hands.conn.execute(SILENT)
    assert hands.reclaim().requeued == 0
    assert hands.beat().alive
    hands.conn.execute(SILENT)
    hands.conn.execute(
        "select set_config('pgflow.now',"
        " (pg_postmaster_start_time() + interval '86401 seconds')::text, false)"
    )
    assert hands.reclaim().requeued == 1


def test_a_task_that_loses_its_workers_waits_longer_each_time_but_not_at_first(
    hands: Hands,
) -> None:
    hands.stop_clock()
    hands.define(single("flow"))
    hands.start("flow")
    hands.claim()
    assert hands.reclaim().requeued == 1
    waits: list[float] = []
    for turn in range(2):
        [task] = hands.claim()
        assert task.attempt == 1
        assert hands.reclaim().requeued == 1
        due = hands.promote().next_due
        assert due is not None
        waits.append(round(due))
        hands.at(f"{10 * (turn + 1)} seconds")
        assert hands.promote().promoted == 1
    assert waits == [2, 4]
    types = hands.rows("select distinct error_type, attempt from pgflow.attempts")
    assert types == [("WorkerLost", 1)]


@pytest.mark.parametrize(("policy", "ended"), [("fail", "failed"), ("skip", "completed")])
def test_past_the_cap_of_lost_workers_a_task_fails_by_its_own_policy(
    hands: Hands, policy: str, ended: str
) -> None:
    hands.define(flow("flow", step("a", exhausted=policy), step("b"), maxCrashes=1))
    [run] = hands.start("flow")
    hands.complete([task for task in hands.claim() if task.step_slug == "b"])
    assert hands.reclaim().requeued == 1
    hands.claim()
    swept = hands.reclaim()
    assert (swept.requeued, swept.failed) == (0, 1)
    assert hands.status(run) == ended
    kept = "select error_message from pgflow.attempts order by attempt_id desc limit 1"
    assert hands.value(kept) == "2 workers were lost while they ran this task"


def test_a_foreign_worker_is_bound_by_the_timeout_alone(hands: Hands) -> None:
    """Nobody stops its bodies, so past the timeout it counts as lost: not as an attempt."""
    hands.define(single("flow", timeout=60, maxAttempts=2))
    [run] = hands.start("flow")
    hands.conn.execute(
        "insert into pgflow.workers (queue_name, worker_id, function_name)"
        " values ('flow', %s, 'f')",
        (hands.id,),
    )
    for lost, moment in enumerate(["2 minutes", "4 minutes", "6 minutes", "8 minutes"], 1):
        [task] = hands.claim()
        assert task.attempt == 1
        swept = hands.reclaim()
        assert (swept.requeued, swept.failed) == (0, 0)
        hands.at(moment)
        swept = hands.reclaim()
        assert (swept.requeued, swept.failed) == ((1, 0) if lost < 4 else (0, 1))
        assert hands.complete([task]).stale == {task.message_id}
    assert hands.status(run) == "failed"
    told = hands.rows("select error_type, worker_id from pgflow.attempts")
    assert told == [("WorkerLost", hands.id)] * 4
    last = "select last_worker_id, permanently_stalled_at is not null from pgflow.step_tasks"
    assert hands.rows(last) == [(hands.id, True)]


def test_the_timeout_of_the_step_counts_before_that_of_the_flow(hands: Hands) -> None:
    hands.define(flow("flow", step("long", timeout=600), step("short"), timeout=60))
    hands.start("flow")
    hands.register(lease=10**6)
    hands.claim()
    hands.at("5 minutes")
    assert hands.reclaim().failed == 1
    assert hands.rows("select step_slug from pgflow.attempts") == [("short",)]
