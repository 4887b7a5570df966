"""Schedules of one flow, and a clock that stands half a minute past midnight."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from stepwell.compile.schedules import deploy_schedules
from stepwell.db import schedule as calls
from stepwell.db.call import Call
from stepwell.db.schedule import Due, EnsuredSchedule, Fired
from stepwell.define.flow import Flow
from stepwell.define.schedule import Schedule, When, every
from stepwell.worker import schedules as chore
from stepwell.worker.schedules import firing_of
from tests.servers import DatabaseServer

from .hands import Connection, Hands
from .shapes import single

START = "2030-01-01 00:00:30+00"
FIVE = every(timedelta(minutes=5))
orders = Flow[Any, Any]("orders")


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def hands(hands: Hands) -> Hands:
    """With a flow to start, half a minute past midnight."""
    hands.define(single("orders"))
    clock(hands.conn, START)
    return hands


class On:
    """What a worker's link is, on a connection of the test."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    async def run(self, call: Call[Any], /) -> list[Any]:
        return call.on_sync(self.conn)


def clock(conn: Connection, moment: str) -> None:
    conn.execute("select set_config('pgflow.now', %s, false)", (moment,))


def put(hands: Hands, when: When = FIVE, name: str = "nightly", **more: Any) -> EnsuredSchedule:
    """Deploy a schedule as a worker would."""
    schedule = Schedule(name, orders.call({"from": name}), when, **more)
    return asyncio.run(deploy_schedules(On(hands.conn), [schedule]))[0]


def fire(hands: Hands, moment: str | None = None) -> int:
    """Fire all that is due, as a worker would; answers how many runs were started."""
    if moment:
        clock(hands.conn, moment)
    return asyncio.run(chore.fire_due(On(hands.conn).run))


def due(conn: Connection) -> list[Due]:
    return calls.due_schedules().on_sync(conn)


def fire_one(conn: Connection, each: Due) -> list[Fired]:
    """Fire a schedule that was read before."""
    firing = firing_of(each)
    assert firing
    call = calls.fire_schedule(
        each.name, each.next_at, firing["slots"], firing["next"], json.dumps(firing["spec"])
    )
    return call.on_sync(conn)


def slots(hands: Hands) -> list[str]:
    """The slots that have a run, oldest first."""
    rows = hands.rows("select key from pgflow.runs where key like 'schedule:%%' order by key")
    return [key.removeprefix("schedule:nightly:2030-01-01T") for (key,) in rows]


def info(hands: Hands, name: str = "nightly") -> calls.ScheduleRow:
    return calls.list_schedules(name).on_sync(hands.conn)[0]


def live(hands: Hands) -> list[UUID]:
    rows = hands.rows("select run_id from pgflow.runs where status = 'started' order by run_id")
    return [run_id for (run_id,) in rows]


def finish(hands: Hands, run_id: UUID) -> None:
    """A run ends. Cancelling is the shortest way to it."""
    assert hands.cancel(run_id)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2030-01-01T{text}").replace(tzinfo=UTC)
