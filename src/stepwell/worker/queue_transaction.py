"""Transactional handlers of messages: what one wrote commits together with the archiving of its
message, or not at all. What raised is rolled back, and its message ends like any other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from stepwell.db.messages import message_state
from stepwell.db.transaction import Trunk, archive_transactional
from stepwell.define.outcome import Failed
from stepwell.errors import TransactionError
from stepwell.observe.emit import emit
from stepwell.observe.events import MessageRepeated
from stepwell.worker.body import Hands
from stepwell.worker.failure import failed
from stepwell.worker.queue_message import Held
from stepwell.worker.repeats import left_of, repeating
from stepwell.worker.transaction import Transaction
from stepwell.worker.transactions import Transactions

TOOK = (
    "the handler archived or deleted its own message in its transaction, so it was rolled back; "
    "return, and the worker archives it"
)

Attempt = Callable[[Held, Hands], Awaitable[Failed | None]]


async def in_transaction(held: Held, hands: Hands, attempt: Attempt) -> Failed | None:
    """One try of a transactional handler. `settled` says that it was written."""
    tried = partial(_tried, held, hands, attempt)
    repeated = partial(_repeated, held)
    return await repeating(held, hands.transactions, tried, repeated)


async def _tried(
    held: Held, hands: Hands, attempt: Attempt, transaction: Transaction
) -> Failed | None:
    failure = await attempt(held, hands)
    if failure is not None or not transaction.returned:
        return failure
    end = MessageEnd(held)
    held.closing = True
    try:
        failure = await transaction.commit(end, left_of(held))
    finally:
        held.closing = False
        held.settled = transaction.written or end.state == "archived"
    if failure is not None or held.settled:
        return failure
    if end.state is None:  # whoever asks waits for those who change it: we must not be one
        await transaction.roll_back()
        if not await end.held(hands.transactions):
            held.gone = True
            return None
        return failed(TransactionError(TOOK), permanent=True)
    held.gone = True
    return None


def _repeated(held: Held, error_type: str, message: str) -> None:
    emit(MessageRepeated(held.queue, held.msg_id, held.read_ct, error_type, message))


class MessageEnd:
    """That a message is archived. `state` is what became of it, where that had to be asked."""

    def __init__(self, held: Held) -> None:
        self.state: str | None = None
        self._name = (held.queue, held.msg_id, held.read_ct)

    async def write(self, trunk: Trunk) -> bool:
        [row] = await archive_transactional(*self._name).on(trunk)
        return row.archived

    async def held(self, pool: Transactions) -> bool:
        [row] = await pool.ask(message_state(*self._name))
        self.state = row.state
        return row.state == "held"
