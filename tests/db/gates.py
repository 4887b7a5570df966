"""Jobs that wait for slots of a limit."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest

from stepwell.db.claim import Task
from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import job


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
