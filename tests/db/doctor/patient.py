"""A database that is looked over, and what is planted in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, LiteralString

from stepwell.db.doctor.examine import Diagnosis, Finding, Thresholds, examine
from stepwell.db.presence import serve_lanes
from stepwell.settings import Settings
from tests.db.hands import Hands
from tests.db.kinds import job
from tests.db.shapes import single

Plant = Callable[[Hands], object]

# the servers of the tests are fast, and would not survive a crash
RISKY = ["fsync", "full_page_writes", "synchronous_commit"]
BASE = {f"{name}_off" for name in RISKY}


def limits(**said: Any) -> Thresholds:
    """Patience for slow machines."""
    patient: dict[str, Any] = {"patience": 60.0, "heard": 30.0}
    return Thresholds(**patient | said)


def examined(dsn: str, thresholds: Thresholds | None = None, **settings: Any) -> Diagnosis:
    wanted: dict[str, Any] = {"dsn": dsn, "wake": "poll"} | settings
    return asyncio.run(examine(Settings(**wanted), thresholds or limits()))


def found_in(dsn: str, thresholds: Thresholds | None = None, **settings: Any) -> list[Finding]:
    """Apart from what the server of the tests is known for."""
    diagnosis = examined(dsn, thresholds, **settings)
    assert diagnosis.unchecked == ()
    return [each for each in diagnosis.findings if each.check not in BASE]


def only(dsn: str, thresholds: Thresholds | None = None, **settings: Any) -> Finding:
    [finding] = found_in(dsn, thresholds, **settings)
    return finding


def tell(hands: Hands, clock: datetime | None = None) -> None:
    queues, versions = [q for q, _ in hands.lanes], [v for _, v in hands.lanes]
    call = serve_lanes(hands.id, queues, queues, versions, 10, clock or datetime.now(UTC))
    call.on_sync(hands.conn)


def sql(*statements: LiteralString) -> Plant:
    def plant(shop: Hands) -> None:
        for statement in statements:
            shop.conn.execute(statement)

    return plant


def unserved(shop: Hands) -> None:
    shop.define(single("mails"))
    shop.begin("mails")


def slot_of_the_dead(shop: Hands) -> None:
    shop.define(job("mail"))
    tell(shop)
    for _ in range(2):
        shop.begin("mail", concurrency="key/acct:7")
    dead = Hands(shop.conn, lanes=list(shop.lanes))
    dead.register(lease=3600)
    [task] = dead.claim(1)
    assert shop.claim() == []
    dead.complete([task])
    shop.conn.execute(
        "insert into pgflow.slots (gate, slot, message_id, claim_token, worker_id)"
        " values ('key/acct:7', 1, %s, %s, %s)",
        (task.message_id, task.claim_token, dead.id),
    )
    shop.conn.execute(
        "update pgflow.step_tasks set stage = 'blocked', blocked_on = 'key/acct:7'"
        " where stage = 'ready'"
    )
    shop.conn.execute(
        "update pgflow.workers set stopped_at = pgflow.now() - interval '1 hour'"
        " where worker_id = %s",
        (dead.id,),
    )
