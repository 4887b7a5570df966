"""Flows for the tests of the client, and a worker moved by hand for what a client starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import Connection

from stepwell import Flow
from stepwell.db.claim import Task
from stepwell.db.inspect import versions_of
from stepwell.define.payload import encode
from tests.db.hands import Entry, Hands


def single(slug: str = "orders", queue: str | None = None) -> Flow[int, dict[str, Any]]:
    """One step, which is the leaf: {"ship": ...} is the output."""
    flow = Flow[int, dict[str, Any]](slug, base_delay=0, queue=queue)

    @flow.step
    def ship(flow_input: int) -> object: ...  # pyright: ignore[reportUnusedFunction]

    return flow


class Worker:
    """Does what it is told to, on a connection of its own."""

    def __init__(self, conn: Connection[Any], *slugs: str) -> None:
        self._slugs = slugs or ("orders",)
        self.hands = Hands(conn)

    def claim(self, want: int = 5000) -> list[Task]:
        versions = versions_of(self._slugs).on_sync(self.hands.conn)
        self.hands.lanes = [(v.queue, v.version_id) for v in versions]
        return self.hands.claim(want)

    def complete(self, output: object = None, want: int = 5000) -> Sequence[Task]:
        tasks = self.claim(want)
        text = encode(output).decode()
        self.hands.commit(
            [Entry(task.message_id, task.claim_token, "completed", text) for task in tasks]
        )
        return tasks

    def fail(self, message: str = "boom") -> None:
        self.hands.fail(self.claim(), message, permanent=True)


class Ears:
    """Hears whom a database wakes."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn
        conn.execute("listen stepwell")

    def heard(self, end: str = "end") -> list[str]:
        """What was told so far: all that was committed before is told before what we tell now."""
        with psycopg.connect(self._conn.info.dsn, autocommit=True) as other:
            other.execute("select pg_notify('stepwell', %s)", (end,))
        found: list[str] = []
        for told in self._conn.notifies(timeout=60):
            if told.payload == end:
                return found
            found.append(told.payload)
        raise AssertionError("the end was never told")

    def until(self, queue: str) -> None:
        assert any(told.payload == queue for told in self._conn.notifies(timeout=60))
