"""Two workers of the same machine and the same job, for forced orders."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from stepwell.db.claim import Task
from tests.servers import DatabaseServer

from .conftest import Connect
from .hands import Hands
from .kinds import job, machine, says

Pair = tuple[Hands, Hands]


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


@pytest.fixture
def pair(hands: Hands, connect: Connect) -> Pair:
    """Two workers of the same machine and the same job, each on a connection of its own."""
    hands.define(machine("order", "place", "ship", maxAttempts=1))
    hands.define(job("mail", maxAttempts=1))
    hands.register()
    two = Hands(connect(), lanes=hands.lanes)
    two.register()
    return hands, two


def running(hands: Hands, key: str | None = "k", **options: Any) -> Task:
    hands.begin("order", {}, key, **options)
    [task] = hands.claim(1)
    return task


def parked(hands: Hands, *names: str, **options: Any) -> Task:
    task = running(hands)
    said = says(task, "await", step="ship", names=list(names or ["paid"]), handed=[], **options)
    hands.commit([said])
    return task


def waits_for(hands: Hands, *children: dict[str, Any], **options: Any) -> UUID:
    task = running(hands, None)
    hands.commit([says(task, "spawn", step="ship", children=list(children), **options)])
    return task.run_id


def awaited(task: Task) -> list[Any]:
    return [each["payload"] for each in json.loads(task.signals or "null")]
