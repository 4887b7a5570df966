"""Two hands at the same rows, in every order that a lock can force."""

from __future__ import annotations

import pytest

from .conftest import Connect
from .hands import Hands
from .shapes import chain, flow, single, spread, step
from .waiting import held_up, transaction, waits_for_none

Pair = tuple[Hands, Hands]
FAN = flow("fan", step("root"), step("left", "root"), step("right", "root"))


@pytest.fixture
def pair(hands: Hands, connect: Connect) -> Pair:
    """Two workers of the same lanes, each on a connection of its own."""
    return hands, Hands(connect(), lanes=hands.lanes)


def test_two_commits_of_one_run_take_turns_and_both_count(pair: Pair) -> None:
    one, two = pair
    one.define(FAN)
    [run] = one.start("fan")
    one.complete(one.claim())
    [left], [right] = one.claim(1), two.claim(1)
    with transaction(one.conn):
        one.complete([left], "l")
        later = held_up(lambda: two.complete([right], "r"), two.conn, one.conn)
    assert later.result(30).stale == frozenset()
    assert one.status(run) == "completed"
    assert one.value("select output from pgflow.runs") == {
        left.step_slug: "l",
        right.step_slug: "r",
    }


def test_the_last_parent_starts_the_child_once_whoever_commits_last(pair: Pair) -> None:
    one, two = pair
    one.define(flow("join", step("a"), step("b"), step("c", "a", "b")))
    [run] = one.start("join")
    [a], [b] = one.claim(1), two.claim(1)
    with transaction(two.conn):
        two.complete([b], want=5)
        later = held_up(lambda: one.complete([a], want=5), one.conn, two.conn)
    assert [task.step_slug for task in later.result(30).tasks] == ["c"]
    assert one.steps(run) == {"a": "completed", "b": "completed", "c": "started"}


def test_commits_of_different_runs_do_not_wait_for_each_other(pair: Pair) -> None:
    one, two = pair
    one.define(chain("flow"))
    one.start("flow", 1, 2)
    [first], [second] = one.claim(1), two.claim(1)
    with transaction(one.conn):
        one.complete([first])
        assert waits_for_none(lambda: two.complete([second]), two.conn).stale == frozenset()


def test_an_outcome_that_waited_for_a_cancel_is_stale(pair: Pair) -> None:
    one, two = pair
    one.define(chain("flow"))
    [run] = one.start("flow")
    [task] = one.claim()
    with transaction(two.conn):
        assert two.cancel(run)
        later = held_up(lambda: one.complete([task], want=1), one.conn, two.conn)
    assert (later.result(30).stale, later.result().tasks) == ({task.message_id}, ())
    assert one.steps(run) == {"s0": "started", "s1": "created", "s2": "created"}


def test_a_cancel_that_waited_for_a_commit_ends_what_the_commit_began(pair: Pair) -> None:
    one, two = pair
    one.define(chain("flow"))
    [run] = one.start("flow")
    [task] = one.claim()
    with transaction(one.conn):
        [handed] = one.complete([task], want=1).tasks
        later = held_up(lambda: two.cancel(run), two.conn, one.conn)
    assert later.result(30)
    assert one.status(run) == "cancelled"
    assert one.complete([handed]).stale == {handed.message_id}
    assert one.claim() == []


def test_a_cancel_that_waited_for_the_last_commit_comes_too_late(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    [run] = one.start("flow")
    tasks = one.claim()
    with transaction(one.conn):
        one.complete(tasks)
        later = held_up(lambda: two.cancel(run), two.conn, one.conn)
    assert not later.result(30)
    assert one.status(run) == "completed"


def test_a_completion_that_waited_for_its_run_to_fail_is_stale(pair: Pair) -> None:
    one, two = pair
    one.define(FAN)
    [run] = one.start("fan")
    one.complete(one.claim())
    [left], [right] = one.claim(1), two.claim(1)
    with transaction(one.conn):
        one.fail([left], permanent=True)
        later = held_up(lambda: two.complete([right]), two.conn, one.conn)
    assert later.result(30).stale == {right.message_id}
    assert one.steps(run) == {
        "root": "completed",
        left.step_slug: "failed",
        right.step_slug: "started",
    }


def test_a_failure_that_waited_for_a_sibling_still_ends_the_run(pair: Pair) -> None:
    one, two = pair
    one.define(FAN)
    [run] = one.start("fan")
    one.complete(one.claim())
    [left], [right] = one.claim(1), two.claim(1)
    with transaction(one.conn):
        one.complete([left])
        later = held_up(lambda: two.fail([right], permanent=True), two.conn, one.conn)
    assert later.result(30).stale == frozenset()
    assert one.status(run) == "failed"
    assert one.steps(run)[left.step_slug] == "completed"


def test_two_claims_of_the_same_head_share_it_and_neither_waits(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    one.start("flow", *range(10))
    with transaction(one.conn):
        first = one.claim(4)
        second = waits_for_none(lambda: two.claim(10), two.conn)
    assert (len(first), len(second)) == (4, 6)
    assert {t.message_id for t in first}.isdisjoint(t.message_id for t in second)
    assert one.claim() == []
    one.complete(first)
    two.complete(second)


def test_two_claims_over_several_lanes_share_their_heads(pair: Pair) -> None:
    one, two = pair
    for slug in ("a", "b", "c"):
        one.define(single(slug))
        one.start(slug, *range(5))
    with transaction(one.conn):
        first = one.claim(7)
        second = waits_for_none(lambda: two.claim(100), two.conn)
    taken = [t.message_id for t in first + second]
    assert (len(first), len(taken), len(set(taken))) == (7, 15, 15)


def test_a_claim_passes_over_what_a_cancel_holds(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    doomed, spared = one.start("flow", 1, 2)
    with transaction(one.conn):
        one.cancel(doomed)
        claimed = waits_for_none(lambda: two.claim(), two.conn)
    assert [task.run_id for task in claimed] == [spared]


def test_a_cancel_waits_for_an_open_claim_and_takes_it_away(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    [run] = one.start("flow")
    with transaction(one.conn):
        [task] = one.claim()
        later = held_up(lambda: two.cancel(run), two.conn, one.conn)
    assert later.result(30)
    assert one.complete([task]).stale == {task.message_id}


def test_a_late_outcome_is_stale_even_under_the_same_worker_id(hands: Hands) -> None:
    hands.define(chain("flow"))
    hands.start("flow")
    [lost] = hands.claim()
    assert hands.reclaim().requeued == 1  # nobody registered this worker
    [again] = hands.claim()
    assert (again.message_id, again.attempt) == (lost.message_id, 1)
    assert again.claim_token != lost.claim_token
    assert hands.complete([lost], "late").stale == {lost.message_id}
    assert hands.fail([lost], permanent=True).stale == {lost.message_id}
    assert hands.release([lost]) == 0
    assert hands.complete([again], "in time").stale == frozenset()
    assert hands.value("select output from pgflow.step_states where step_slug = 's0'") == "in time"


def test_a_task_is_written_once_however_often_a_batch_names_it(hands: Hands) -> None:
    hands.define(chain("flow", 2))
    [run] = hands.start("flow")
    [task] = hands.claim()
    hands.complete([task, task, task])
    assert hands.steps(run) == {"s0": "completed", "s1": "started"}


def test_a_sweep_leaves_alone_what_a_commit_is_writing(pair: Pair) -> None:
    one, two = pair
    one.define(chain("flow"))
    [run] = one.start("flow")
    [task] = one.claim()
    with transaction(one.conn):
        one.complete([task])
        swept = waits_for_none(lambda: two.reclaim(), two.conn)
    assert (swept.requeued, swept.failed) == (0, 0)
    assert one.steps(run) == {"s0": "completed", "s1": "started", "s2": "created"}


def test_a_commit_that_waited_for_a_sweep_is_stale(pair: Pair) -> None:
    one, two = pair
    one.define(chain("flow"))
    one.start("flow")
    [task] = one.claim()
    with transaction(two.conn):
        assert two.reclaim().requeued == 1
        later = held_up(lambda: one.complete([task]), one.conn, two.conn)
    assert later.result(30).stale == {task.message_id}
    assert [again.message_id for again in two.claim()] == [task.message_id]


def test_a_sweep_that_fails_a_task_leaves_alone_whose_run_somebody_holds(pair: Pair) -> None:
    """So that one held run does not keep the tasks of all lost workers from going on."""
    one, two = pair
    one.define(single("flow", maxCrashes=0))
    [run] = one.start("flow")
    [task] = one.claim()
    with transaction(one.conn):
        one.complete([task])
        assert two.reclaim().failed == 0
    assert two.reclaim().failed == 0
    assert one.status(run) == "completed"
    assert one.rows("select error_type from pgflow.attempts") == []


def test_a_cancel_that_waited_for_a_sweep_ends_the_requeued_task(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    [run] = one.start("flow")
    one.claim()
    with transaction(one.conn):
        assert one.reclaim().requeued == 1
        later = held_up(lambda: two.cancel(run), two.conn, one.conn)
    assert later.result(30)
    assert one.claim() == []


def test_a_sweep_passes_over_what_a_cancel_holds(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    [run] = one.start("flow")
    one.claim()
    with transaction(one.conn):
        one.cancel(run)
        assert waits_for_none(lambda: two.reclaim(), two.conn).requeued == 0
    assert one.reclaim().requeued == 0


def test_an_outcome_from_before_a_retry_is_stale(hands: Hands) -> None:
    hands.define(FAN)
    [run] = hands.start("fan")
    hands.complete(hands.claim())
    left, right = hands.claim()
    hands.fail([left], permanent=True)
    assert hands.retry(run)
    assert hands.complete([right]).stale == {right.message_id}
    again = hands.claim()
    assert {task.attempt for task in again} == {1}
    assert hands.complete([right]).stale == {right.message_id}
    hands.complete(again)
    assert hands.status(run) == "completed"


def test_a_commit_that_waited_for_cancel_and_retry_is_stale(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    [run] = one.start("flow")
    [task] = one.claim()
    with transaction(two.conn):
        two.cancel(run)
        two.retry(run)
        later = held_up(lambda: one.complete([task]), one.conn, two.conn)
    assert later.result(30).stale == {task.message_id}
    assert one.drain() == 1


def test_a_timer_passes_over_what_a_cancel_holds_and_never_revives_it(pair: Pair) -> None:
    one, two = pair
    one.define(flow("flow", step("a", startDelay=5)))
    [run] = one.start("flow")
    two.at("1 minute")
    with transaction(one.conn):
        one.cancel(run)
        assert waits_for_none(lambda: two.promote(), two.conn).promoted == 0
    assert two.promote().promoted == 0
    assert two.claim() == []


def test_a_cancel_that_waited_for_a_timer_ends_the_task(pair: Pair) -> None:
    one, two = pair
    one.define(flow("flow", step("a", startDelay=5)))
    [run] = one.start("flow")
    two.at("1 minute")
    with transaction(two.conn):
        assert two.promote().promoted == 1
        later = held_up(lambda: one.cancel(run), one.conn, two.conn)
    assert later.result(30)
    assert two.claim() == []


def test_two_starts_with_the_same_keys_in_opposite_order_make_the_same_runs(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    keys = ["k1", "k2", "k3", "k4"]
    with transaction(one.conn):
        first = one.started("flow", [1, 2, 3, 4], keys)
        later = held_up(lambda: two.started("flow", [4, 3, 2, 1], keys[::-1]), two.conn, one.conn)
    second = later.result(30)
    assert [row.created for row in first + second] == [True] * 4 + [False] * 4
    assert [row.run_id for row in first] == [row.run_id for row in second][::-1]
    assert one.drain() == 4


def test_a_start_that_waited_for_one_that_failed_makes_the_run_itself(pair: Pair) -> None:
    one, two = pair
    one.define(single("flow"))
    with one.conn.transaction(force_rollback=True):
        one.start("flow", 1, keys=["k"])
        later = held_up(lambda: two.started("flow", [2], ["k"]), two.conn, one.conn)
    [row] = later.result(30)
    assert row.created
    assert two.drain() == 1


def test_giving_claims_back_waits_for_the_run_before_it_holds_a_task(
    pair: Pair, connect: Connect
) -> None:
    """A cancel wants the same tasks in an order of its own: holding some would be a deadlock."""
    one, two = pair
    bystander = connect()
    one.define(spread("flow"))
    [run] = one.start("flow")
    one.complete(one.claim(), [0, 1, 2, 3])
    tasks = one.claim()
    with transaction(two.conn):
        two.conn.execute("select from pgflow.runs where run_id = %s for no key update", (run,))
        leaving = held_up(lambda: one.release(tasks[::-1]), one.conn, two.conn)
        free = bystander.execute("select from pgflow.step_tasks for update nowait").fetchall()
        assert len(free) == 5
        assert two.cancel(run)
    assert leaving.result(30) == 0


def test_leaving_waits_for_the_worker_before_it_holds_a_run(pair: Pair, connect: Connect) -> None:
    """A sweep ends lapsed workers first and may then want their runs."""
    one, two = pair
    bystander = connect()
    one.define(single("flow"))
    one.start("flow", 1, 2)
    one.register()
    assert len(one.claim()) == 2
    with transaction(two.conn):
        two.conn.execute("select from pgflow.workers for update")
        leaving = held_up(one.leave, one.conn, two.conn)
        for table in ("runs", "step_tasks"):
            query = f"select from pgflow.{table} for update nowait"
            assert len(bystander.execute(query.encode()).fetchall()) == 2
    leaving.result(30)
    assert one.rows("select distinct stage from pgflow.step_tasks") == [("ready",)]
