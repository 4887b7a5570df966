"""Why a run is not moving, asked of the database; time stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from stepwell.db.explain import Reason, explain_run
from stepwell.db.presence import serve_lanes
from tests.servers import DatabaseServer

from .hands import Hands
from .shapes import single

START = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def reasons(hands: Hands, run_id: UUID) -> list[Reason]:
    return explain_run(run_id).on_sync(hands.conn)


def words(hands: Hands, run_id: UUID) -> list[tuple[str, str]]:
    return [(each.reason, each.state) for each in reasons(hands, run_id)]


def only(hands: Hands, run_id: UUID) -> Reason:
    [reason] = reasons(hands, run_id)
    return reason


def at(hands: Hands, seconds: float) -> None:
    """Time stands still, so that a slow machine tells the same."""
    moment = START + timedelta(seconds=seconds)
    hands.conn.execute("select set_config('pgflow.now', %s, false)", (moment.isoformat(),))


def tell(hands: Hands, concurrency: int = 10) -> None:
    """What a worker of ours tells of itself."""
    queues, versions = [q for q, _ in hands.lanes], [v for _, v in hands.lanes]
    call = serve_lanes(hands.id, queues, queues, versions, concurrency, datetime.now(UTC))
    call.on_sync(hands.conn)


@pytest.fixture
def fleet(hands: Hands) -> Hands:
    at(hands, 0)
    hands.define(single("orders"))
    hands.register(lease=15)
    tell(hands)
    return hands
