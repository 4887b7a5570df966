"""What a start can be told."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from stepwell import (
    Client,
    ConcurrencyLimit,
    DefinitionError,
    PayloadError,
    RateLimit,
    Run,
    key_by,
)

from .client_hands import Ears, Worker
from .kind_hands import Checkout, orders, send, tidy
from .kind_hands import client as client
from .kind_hands import worker as worker

reports = ConcurrencyLimit("reports", 5)
openai = RateLimit("openai", 60, burst=10)


async def test_a_start_is_told_when_and_where(client: Client, worker: Worker, dsn: str) -> None:
    now = datetime.now(UTC)
    later = now + timedelta(hours=1)
    told: list[dict[str, Any]] = [
        {"delay": 3600},
        {"delay": timedelta(hours=1)},
        {"at": later},
        {"queue": "slow", "priority": -3, "concurrency": "order:42"},
        {"fairness_key": "acme", "fairness_weight": 2},
    ]
    starts: list[Any] = [send.call(1), Checkout(order=1), orders.call(1)]
    for start in starts:
        is_flow = start is starts[2]
        told[3] = {"priority": -3} if is_flow else told[3]
        runs: list[Run[Any]] = [await client.start(start, **choices) for choices in told]
        rows = worker.hands.rows(
            "select run_id, stage, ready_at, queue, priority, concurrency_key, fairness_key"
            " from pgflow.step_tasks where run_id = any (%s)",
            [run.id for run in runs],
        )
        found = {row[0]: row[1:] for row in rows}
        for run in runs[:3]:
            assert found[run.id][0] == "delayed"
            assert abs(found[run.id][1] - later) < timedelta(minutes=1)
        assert found[runs[3].id][0] == "ready"
        if not is_flow:
            assert found[runs[3].id][2:5] == ("slow", -3, "key/order:42")
        assert found[runs[4].id][5] == "acme"


async def test_a_limit_is_named_or_found_in_the_input(client: Client, worker: Worker) -> None:
    with pytest.raises(DefinitionError, match="no concurrency limit 'reports' in this database"):
        await client.enqueue(send.call(1), concurrency=reports)
    worker.hands.conn.execute(
        "insert into pgflow.limits (kind, name, capacity, per_second)"
        " values ('concurrency', 'reports', 5, null), ('rate', 'openai', 10, 60)"
    )
    runs = [
        await client.enqueue(send.call(7), concurrency=reports, rate_limit=openai),
        await client.enqueue(
            send.call(7), concurrency=reports.of("a"), rate_limit=openai.of("b", weight=2)
        ),
        *await client.enqueue_many(
            [send.call(1), send.call(2)],
            concurrency=key_by("user_id"),
            rate_limit=openai.by("user_id"),
        ),
    ]
    rows = worker.hands.rows(
        "select t.concurrency_key, t.rate_limit, t.weight from unnest(%s) with ordinality r (id, n)"
        " join pgflow.step_tasks t on t.run_id = r.id order by n",
        [run.id for run in runs],
    )
    assert rows == [
        ("limit/reports/", "openai/", 1),
        ("limit/reports/a", "openai/b", 2),
        ("key/1", "openai/1", 1),
        ("key/2", "openai/2", 1),
    ]
    with pytest.raises(DefinitionError, match="above its burst"):
        await client.enqueue(send.call(1), rate_limit=openai.of("a", weight=11))


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"at": datetime(2030, 1, 1)}, "no time zone"),
        ({"at": "tomorrow"}, "must be a datetime"),
        ({"at": datetime.now(UTC), "delay": 1}, "both delay and at"),
        ({"delay": -1}, "delay is -1"),
        ({"priority": 40_000}, "priority is 40000"),
        ({"priority": True}, "priority is True"),
        ({"queue": " "}, "queue is ' '"),
        ({"fairness_weight": 0}, "fairness_weight is 0"),
        ({"fairness_weight": float("nan")}, "fairness_weight is nan"),
        ({"unique": "always"}, "unique is 'always'"),
        ({"unique": timedelta(0)}, "unique is"),
        ({"concurrency": 5}, "concurrency is 5"),
        ({"rate_limit": "openai"}, "rate_limit is 'openai'"),
    ],
)
async def test_what_no_start_can_be_told(
    client: Client, choices: dict[str, Any], said: str
) -> None:
    with pytest.raises(PayloadError, match=said):
        await client.enqueue(tidy.call(), **choices)


@pytest.mark.parametrize("name", ["queue", "concurrency", "rate_limit"])
async def test_what_the_steps_of_a_flow_say_no_start_says(client: Client, name: str) -> None:
    choice: Any = {name: openai if name == "rate_limit" else "slow"}
    with pytest.raises(PayloadError, match=f"{name} is for machines and jobs; flow 'orders'"):
        await client.start(orders, 1, **choice)


async def test_a_misspelt_choice_is_no_choice(client: Client) -> None:
    wrong: Any = {"prioritty": 1}
    with pytest.raises(TypeError, match=r"no argument 'prioritty' \(did you mean 'priority'\?\)"):
        await client.start(tidy.call(), **wrong)
    with pytest.raises(TypeError, match="no argument 'key'"):
        wrong = {"key": "k"}
        await client.enqueue_many([tidy.call()], **wrong)


async def test_workers_of_the_queue_that_was_named_hear_of_it(client: Client, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        await client.enqueue(tidy.call())
        await asyncio.sleep(0.1)
        ears = Ears(conn)
        await client.enqueue(tidy.call(), queue="slow")
        assert ears.heard() == ["slow"]
        await client.enqueue_many([tidy.call(), send.call(1)], delay=60)
        await client.close()
        assert set(ears.heard()) == {"tidy", "mail"}
