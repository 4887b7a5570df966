"""Delays before an attempt: how long, and that they pass by the one clock."""

from __future__ import annotations

from dataclasses import replace
from typing import LiteralString

import pytest
from psycopg import errors

from stepwell import Backoff

from .hands import Hands
from .shapes import flow, single, step

DELAY = "select pgflow.retry_delay(%s, %s::int, %s::int, %s::int, %s::real)"


@pytest.mark.parametrize(
    ("base", "attempts", "cap", "seconds"),
    [
        (7, 1, None, 14),
        (7, 2, None, 28),
        (1, 10, None, 1024),
        (0, 5, None, 0),
        (5, 3, 30, 30),
        (5, 1, 30, 10),
        (1, 1000, None, 1e9),
        (2_000_000_000, 1000, 3600, 3600),
        (3, 3, 0, 0),
    ],
)
def test_a_delay_doubles_with_each_attempt_up_to_its_cap(
    hands: Hands, base: int, attempts: int, cap: int | None, seconds: float
) -> None:
    assert hands.value(DELAY, "exponential", base, attempts, cap, 0.0) == seconds


@pytest.mark.parametrize(
    ("backoff", "base", "attempts", "cap", "seconds"),
    [
        ("fixed", 7, 1, None, 7),
        ("fixed", 7, 9, None, 7),
        ("fixed", 7, 9, 5, 5),
        ("linear", 7, 1, None, 7),
        ("linear", 7, 9, None, 63),
        ("linear", 7, 9, 30, 30),
        ("linear", 2_000_000_000, 1000, None, 1e9),
        ("custom", 7, 2, None, 28),  # whose function said nothing
    ],
)
def test_a_delay_may_stay_or_grow_by_the_same_each_time(
    hands: Hands, backoff: str, base: int, attempts: int, cap: int | None, seconds: float
) -> None:
    assert hands.value(DELAY, backoff, base, attempts, cap, 0.0) == seconds


@pytest.mark.parametrize(
    "backoff",
    [
        Backoff.fixed(7),
        Backoff.linear(7),
        Backoff.linear(7, max_delay=30),
        Backoff.exponential(3),
        Backoff.exponential(3, max_delay=100, jitter=0.25),
        Backoff.exponential(2**31 - 1),
    ],
)
def test_the_worker_and_the_database_count_alike(hands: Hands, backoff: Backoff) -> None:
    said = backoff.plain
    for attempt in (1, 2, 3, 7, 64, 1000):
        whole = replace(backoff, jitter=0).delay(attempt)
        facts = (said["backoff"], said["base_delay"], attempt, said["max_delay"])
        assert hands.value(DELAY, *facts, 0.0) == whole
        for delay in (hands.value(DELAY, *facts, said["jitter"]), backoff.delay(attempt)):
            assert whole * (1 - backoff.jitter) <= delay <= whole


def test_jitter_takes_up_to_its_share_away_and_never_adds(hands: Hands) -> None:
    query: LiteralString = (
        "select pgflow.retry_delay('exponential', 10, 1, null, 0.5::real)"
        " from generate_series(1, 1000)"
    )
    delays = [delay for (delay,) in hands.rows(query)]
    assert 10 <= min(delays) < 11 and 19 < max(delays) <= 20


def test_a_retry_waits_for_its_delay_by_the_clock(hands: Hands) -> None:
    hands.stop_clock()
    hands.define(single("flow", baseDelay=7))
    [run] = hands.start("flow")
    hands.fail(hands.claim(), "first")
    assert hands.claim() == []
    promoted = hands.promote()
    assert (promoted.promoted, promoted.queues) == (0, [])
    assert promoted.next_due is not None and 13 < promoted.next_due <= 14
    hands.at("15 seconds")
    promoted = hands.promote()
    assert (promoted.promoted, promoted.queues, promoted.next_due) == (1, ["flow"], None)
    [task] = hands.claim()
    assert task.attempt == 2
    hands.complete([task])
    assert hands.status(run) == "completed"


def test_a_task_out_of_attempts_fails_and_every_attempt_is_on_record(hands: Hands) -> None:
    hands.define(single("flow", maxAttempts=3))
    [run] = hands.start("flow")
    for number in range(3):
        hands.fail(hands.claim(), f"attempt {number}")
    assert hands.status(run) == "failed"
    kept = hands.rows("select attempt, error_type, error_message from pgflow.attempts order by 1")
    assert kept == [(n + 1, "ValueError", f"attempt {n}") for n in range(3)]


@pytest.mark.parametrize("attempts", [0, 1])
def test_no_attempts_and_one_attempt_are_the_same(hands: Hands, attempts: int) -> None:
    hands.define(single("flow", maxAttempts=attempts))
    [run] = hands.start("flow")
    hands.fail(hands.claim())
    assert hands.status(run) == "failed"


def test_a_thousand_attempts_do_not_overflow(hands: Hands) -> None:
    hands.define(single("flow", maxAttempts=5000, baseDelay=2_000_000_000))
    hands.start("flow")
    hands.conn.execute("update pgflow.step_tasks set attempts_count = 1000")
    hands.fail(hands.claim())
    due = hands.promote().next_due
    assert due is not None and 9e8 < due <= 1e9


def test_a_start_delay_of_thirty_days_passes_with_the_clock(hands: Hands) -> None:
    hands.define(flow("flow", step("now"), step("later", "now", startDelay=30 * 86400)))
    [run] = hands.start("flow")
    turn = hands.complete(hands.claim(), want=10)
    assert (turn.tasks, turn.ready) == ((), ("flow",))
    hands.at("29 days")
    assert hands.promote().promoted == 0
    hands.at("31 days")
    assert hands.promote().promoted == 1
    hands.drain()
    assert hands.status(run) == "completed"


def test_timers_come_in_their_order_and_not_more_than_asked_for(hands: Hands) -> None:
    steps = [step(f"s{n}", startDelay=(9 - n) * 10) for n in range(10)]
    hands.define(flow("flow", *steps))
    hands.start("flow")
    hands.at("35 seconds")
    assert hands.promote().promoted == 3
    claimed = [task.step_slug for task in hands.claim()]
    assert claimed == ["s9", "s8", "s7", "s6"]


def test_a_permanent_failure_takes_no_second_attempt(hands: Hands) -> None:
    hands.define(single("flow"))
    [run] = hands.start("flow")
    hands.fail(hands.claim(), permanent=True)
    assert hands.status(run) == "failed"


def test_a_retried_run_keeps_a_start_delay_that_is_not_over(hands: Hands) -> None:
    hands.define(flow("later", step("a", startDelay=3600), step("b", maxAttempts=1)))
    [run] = hands.start("later")
    hands.fail(hands.claim())
    assert hands.status(run) == "failed"
    assert hands.value("select pgflow.retry_run(%s)", run)
    [task] = hands.claim()
    assert task.step_slug == "b"
    promoted = hands.promote()
    assert promoted.next_due is not None and promoted.next_due > 3500


def test_an_outcome_that_is_no_outcome_is_refused(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.start("flow")
    [task] = hands.claim()
    with pytest.raises(errors.InvalidParameterValue, match="completed, failed or failed_perm"):
        hands.rows(
            "select * from pgflow.commit_tasks(null, array[%s::bigint], array[%s::bigint],"
            " array['Completed'], array[null::jsonb])",
            task.message_id,
            task.claim_token,
        )


def test_a_failure_without_a_reason_says_so_on_the_run(hands: Hands) -> None:
    hands.define(single("flow", maxAttempts=1))
    [run] = hands.start("flow")
    [task] = hands.claim()
    hands.rows("select * from pgflow.fail_task(%s, %s, 0, null)", task.run_id, task.step_slug)
    reason = hands.value("select error_message from pgflow.runs where run_id = %s", run)
    assert reason == "no reason was given"


def test_a_worker_that_nobody_knows_gets_no_tasks(hands: Hands) -> None:
    hands.define(single("flow"))
    hands.start("flow")
    with pytest.raises(errors.ForeignKeyViolation, match="step_tasks_last_worker_id_fkey"):
        hands.rows(
            "select * from pgflow.start_tasks('flow', array(select message_id from"
            " pgflow.step_tasks), gen_random_uuid())"
        )
