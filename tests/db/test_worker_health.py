"""Who is there and how they are; and telling them to go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID, uuid4

import pytest

from stepwell.db.presence import serve_lanes
from stepwell.db.workers import WorkerInfo, drain_workers, is_served, worker_health
from tests.servers import DatabaseServer

from .hands import Hands
from .shapes import single


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def fleet(hands: Hands) -> Hands:
    hands.stop_clock()
    hands.define(single("orders"))
    hands.register(lease=15)
    return hands


def foreign(hands: Hands, queue: str = "orders", lease: str | None = None) -> UUID:
    worker = uuid4()
    insert: LiteralString = (
        "insert into pgflow.workers (worker_id, queue_name, function_name, last_heartbeat_at,"
        " started_at, lease) values (%s, %s, 'edge', pgflow.now(), pgflow.now(), %s)"
    )
    hands.conn.execute(insert, (worker, queue, lease))
    return worker


def health(hands: Hands, within: timedelta = timedelta()) -> dict[UUID, WorkerInfo]:
    return {each.id: each for each in worker_health(within).on_sync(hands.conn)}


def serve(hands: Hands, *queues: str) -> None:
    now = datetime.now(UTC)
    serve_lanes(hands.id, queues, [], [], 1, now).on_sync(hands.conn)


def served(hands: Hands, queue: str = "orders") -> bool:
    return is_served(queue).on_sync(hands.conn)[0].served


def test_health_goes_by_the_last_heartbeat(fleet: Hands) -> None:
    worker = foreign(fleet)
    seen: list[str] = []
    for seconds in (0, 29, 31, 59, 61, 3600):
        fleet.at(f"{seconds} seconds")
        seen.append(health(fleet)[worker].health)
    assert seen == ["healthy", "healthy", "stale", "stale", "dead", "dead"]
    fleet.beat()
    assert health(fleet)[fleet.id].health == "healthy"
    assert abs(health(fleet)[worker].silent - 3600) < 60


def test_a_long_lease_may_be_renewed_seldom(fleet: Hands) -> None:
    worker = foreign(fleet, lease="10 minutes")
    seen: list[str] = []
    for seconds in (590, 610, 1190, 1210):
        fleet.at(f"{seconds} seconds")
        seen.append(health(fleet)[worker].health)
    assert seen == ["healthy", "stale", "stale", "dead"]


def test_one_that_stopped_is_dead_and_shown_for_as_long_as_asked(fleet: Hands) -> None:
    fleet.leave()
    fleet.at("1 second")
    assert fleet.id not in health(fleet)
    fleet.at("10 minutes")
    assert fleet.id not in health(fleet, timedelta(minutes=5))
    assert health(fleet, timedelta(minutes=11))[fleet.id].health == "dead"


def test_what_each_has_in_hand(fleet: Hands) -> None:
    fleet.start("orders", {}, {}, {})
    tasks = fleet.claim(2)
    worker = health(fleet)[fleet.id]
    assert (worker.name, worker.host, worker.pid) == ("hands", "here", 1)
    assert (worker.queues, worker.running, worker.draining) == (["orders"], 2, False)
    fleet.release(tasks)
    assert health(fleet)[fleet.id].running == 0


def test_a_queue_is_served_while_a_healthy_worker_takes_of_it(fleet: Hands) -> None:
    assert served(fleet)
    assert not served(fleet, "mail")
    assert not served(fleet, "order")  # it is a name, not a part of one
    serve(fleet, "mail", "orders")
    assert served(fleet, "mail")
    drain_workers([fleet.id], None).on_sync(fleet.conn)
    assert not served(fleet)
    worker = foreign(fleet)
    assert served(fleet)
    fleet.at("40 seconds")
    assert health(fleet)[worker].health == "stale"
    assert not served(fleet)


def test_who_is_told_to_drain_hears_of_it_once(fleet: Hands) -> None:
    gone, other = foreign(fleet), foreign(fleet)
    fleet.conn.execute("select pgflow.mark_worker_stopped(%s)", (gone,))
    call = drain_workers([fleet.id, gone, uuid4()], "ann")
    assert [row.worker_id for row in call.on_sync(fleet.conn)] == [fleet.id]
    assert call.on_sync(fleet.conn) == []
    beat = fleet.beat()
    assert (beat.alive, beat.draining) == (True, True)
    assert health(fleet)[fleet.id].draining and not health(fleet)[other].draining
    assert (
        health(fleet)[fleet.id].health == "healthy"
    )  # it takes nothing new, and is none the worse
    assert fleet.rows("select actor, action, kind, target from pgflow.audit") == [
        ("ann", "drain", "worker", str(fleet.id))
    ]


def test_what_a_worker_serves_may_change(fleet: Hands) -> None:
    serve(fleet, "a", "b")
    assert health(fleet)[fleet.id].queues == ["a", "b"]
    fleet.conn.execute(  # as workers of before say it
        "select pgflow.serve_queues(%s, array['b', 'c'])", (fleet.id,)
    )
    assert health(fleet)[fleet.id].queues == ["b", "c"]
