"""Whether workers hear of new work: what is said on the one connection arrives on the other."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from stepwell.db.connect import connect_options
from stepwell.db.doctor.finding import Examination, Finding
from stepwell.settings import without_password

WHY = "an idle worker hears nothing of new work, and begins it up to `poll` seconds later"


async def wakes(look: Examination) -> list[Finding]:
    """LISTEN where workers would, NOTIFY where everybody does. Nothing is written by it. A server
    process that is not the one we were told of means that a pooler is between."""
    settings = look.settings
    if settings.wake != "notify":
        return []
    [row] = await look.ask("select pg_backend_pid() as pid, pg_is_in_recovery() as standby")
    if row["standby"]:
        return []
    pooled = row["pid"] != look.conn.info.backend_pid
    address = settings.listen_dsn or settings.dsn
    options = connect_options(address, settings.connect_timeout, "stepwell doctor")
    try:
        async with await AsyncConnection[Any].connect(**options) as listener:
            heard = await arrives(look.conn, listener, look.thresholds.heard)
    except psycopg.Error as error:
        if not settings.listen_dsn:
            raise
        what = f"the address for LISTEN ({without_password(address)}) leads nowhere: "
        return [finding("listen_fails", what + str(error).strip().splitlines()[0])]
    if heard:
        return []
    if pooled and not settings.listen_dsn:
        return [
            finding("pooler_without_listen_dsn", "a transaction pooler is in the way of LISTEN")
        ]
    return [
        finding("listen_elsewhere", "what is sent to the database is not heard where we listen")
    ]


async def arrives(
    sender: AsyncConnection[Any], listener: AsyncConnection[Any], timeout: float
) -> bool:
    channel = f"stepwell_doctor_{uuid4().hex[:12]}"
    await listener.execute(SQL("listen {}").format(Identifier(channel)))
    await sender.execute("select pg_notify(%s, '')", (channel,))
    async for _ in listener.notifies(timeout=timeout, stop_after=1):
        return True
    return False


def finding(check: str, what: str) -> Finding:
    remedy = "export STEPWELL_LISTEN_DSN=postgresql://… of the server itself, past any pooler"
    return Finding(
        check, "warning", what, WHY, (remedy, "or do without: export STEPWELL_WAKE=poll")
    )
