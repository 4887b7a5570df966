"""A transactional handler runs again when others ended its transaction: a deadlock, a connection
that broke. That is no failure of the handler, and no other attempt."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from stepwell.worker.failure import said_by
from stepwell.worker.guard import Bounds
from stepwell.worker.transaction import Transaction
from stepwell.worker.transactions import Transactions

Answer = TypeVar("Answer")
Repeated = Callable[[str, str], None]

REPEATS = 5
FIRST_PAUSE = 0.02


class Timed(Bounds, Protocol):
    """Who has a transaction: the context of a handler."""

    deadline: datetime
    transaction: Transaction | None


async def repeating(
    context: Timed,
    transactions: Transactions,
    tried: Callable[[Transaction], Awaitable[Answer]],
    repeated: Repeated,
) -> Answer:
    """Try it in a transaction, again as long as it was others who ended that, within the handler's
    time. `repeated` is told of each error that this was for."""
    times = 0
    while True:
        transaction = Transaction(transactions, context.token, last=times == REPEATS)
        context.transaction = transaction
        try:
            await transaction.prepare()
            answer = await tried(transaction)
        finally:
            await transaction.roll_back()
        error = transaction.passing
        left = left_of(context)
        if error is None or times == REPEATS or context.late or not left:
            return answer
        repeated(type(error).__name__, said_by(error).strip())
        await asyncio.sleep(FIRST_PAUSE * 2**times * random.uniform(0.5, 1.5))
        context.timeout = left
        times += 1


def left_of(context: Timed) -> float:
    """Seconds of the handler's time."""
    return max(0.0, (context.deadline - datetime.now(UTC)).total_seconds())
