"""What pyright knows about queue workers. Checked, never run: pyright strict must find nothing
here."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from psycopg import AsyncConnection, Connection

from stepwell import (
    Backoff,
    Client,
    Context,
    MessageContext,
    QueueWorker,
    RetryPolicy,
    Stepwell,
    SyncClient,
    handler,
    queue_worker,
)
from stepwell.client.letters import DeadLetter
from stepwell.db.messages import Resent


@dataclass
class Mail:
    to: str


@queue_worker("mail", retry=RetryPolicy("fixed", limit=3, base_delay=timedelta(minutes=1)))
async def send(mail: Mail, ctx: MessageContext) -> None:
    assert_type(ctx.msg_id, int)


@queue_worker("tasks", max_concurrent=3, timeout=0.5)
def handle(task: dict[str, Any], tries: int = 3) -> int:
    return tries


@queue_worker("ledger", transactional=True, backoff={OSError: Backoff.fixed(60)})
async def enter(amount: int, ctx: MessageContext) -> None:
    assert_type(ctx.connection, AsyncConnection[Any])
    assert_type(ctx.sync_connection, Connection[Any])
    ctx.log("nowhere")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@queue_worker("pictures", process=True, backoff=Backoff.linear(2))
def measure(name: str) -> int:
    return len(name)


def by_pattern(input: Any, ctx: Context) -> None: ...


queue_worker("ledger", transactional="yes")  # pyright: ignore[reportArgumentType]
handler("acct_*", by_pattern, transactional=["pay"], process={"compute"})
handler("acct_*", by_pattern, process=1)  # pyright: ignore[reportArgumentType]


async def by_hand(ctx: MessageContext) -> None:
    await send(Mail("ada"), ctx)
    assert_type(handle({}), int)
    await send("ada", ctx)  # pyright: ignore[reportArgumentType]
    RetryPolicy("linear")  # pyright: ignore[reportArgumentType]
    queue_worker("tasks", retires=3)  # pyright: ignore[reportCallIssue]
    Stepwell(queues=[by_hand])  # pyright: ignore[reportArgumentType]


async def messages(client: Client, conn: AsyncConnection[Any]) -> None:
    worker: QueueWorker[..., Any] = handle
    Stepwell(queues=[send, handle, worker])
    assert_type(await client.create_queue("mail"), bool)
    assert_type(await client.send("mail", Mail("ada"), delay=3, headers={}, conn=conn), int)
    assert_type(await client.send_batch("mail", [Mail("ada")]), list[int])
    assert_type(await client.dead_letters("mail"), list[DeadLetter])
    assert_type(await client.resend("mail", ids=[1]), list[Resent])
    assert_type(await client.forget_dead_letters(ids=[1]), int)


def sync_messages(client: SyncClient) -> None:
    assert_type(client.create_queue("mail"), bool)
    assert_type(client.send("mail", 1, delay=timedelta(hours=1)), int)
    assert_type(client.dead_letters(), list[DeadLetter])
    assert_type(client.resend("mail"), list[Resent])
