# made by tools/sync.py out of client/messaging.py: change that, and run `python -m tools.sync`
"""Send messages to queues, and look after those that died. For SyncClient."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.client.letters import (
    DeadLetter,
    forgotten,
    letter_of,
    listed_letters,
    made,
    resent,
    sent,
)
from stepwell.client.sync.session import SyncSession
from stepwell.client.wakes import to_queues
from stepwell.db.messages import Resent
from stepwell.db.theirs import TheirsSync
from stepwell.define.duration import Duration
from stepwell.observe.traces import Traces


class SyncMessaging:
    """Queues are those of pgmq; what else there is to do with one, its functions do."""

    _session: SyncSession
    _traces: Traces

    def create_queue(self, queue: str) -> bool:
        """Make a queue; False when it is there."""
        return self._session.pool.run(made(queue))[0].created

    def send(
        self,
        queue: str,
        message: object,
        *,
        delay: Duration = 0,
        headers: object = None,
        conn: TheirsSync | None = None,
    ) -> int:
        """Put a message into a queue, and answer with its id; NotFound when there is no such queue.

        It is visible after `delay` (seconds, or a timedelta). With `conn`, it is part of your
        transaction. Otherwise a send whose connection breaks is repeated: in rare cases the message
        is there twice.
        """
        beside = None if headers is None else [headers]
        [msg_id] = self._sent(queue, [message], beside, delay, conn)
        return msg_id

    def send_batch(
        self,
        queue: str,
        messages: Sequence[object],
        *,
        delay: Duration = 0,
        headers: Sequence[object] | None = None,
        conn: TheirsSync | None = None,
    ) -> list[int]:
        """Put messages into a queue, all or none, in their order; `headers` has one for each."""
        return self._sent(queue, messages, headers, delay, conn) if messages else []

    def dead_letters(
        self, queue: str | None = None, before: int | None = None, limit: int = 100
    ) -> list[DeadLetter]:
        """Messages that no try could deal with, newest first, of one queue or of all. `before`, the
        id of the last one, continues a list."""
        rows = self._session.pool.run(listed_letters(queue, before, limit))
        return [letter_of(row) for row in rows]

    def resend(
        self,
        queue: str | None = None,
        *,
        ids: Sequence[int] | None = None,
        limit: int = 1000,
        actor: str | None = None,
    ) -> list[Resent]:
        """Send dead letters again, as new messages: those of a queue, oldest first, or the given
        ones. Answers with those that were sent; they are no dead letters any more."""
        call = resent(queue, ids, limit, actor or self._session.actor)
        rows = self._session.pool.run(call)
        self._session.wakes.wake(*to_queues(sorted({row.queue for row in rows})))
        return rows

    def forget_dead_letters(
        self,
        queue: str | None = None,
        *,
        ids: Sequence[int] | None = None,
        limit: int = 1000,
        actor: str | None = None,
    ) -> int:
        """Drop dead letters of a queue, oldest first, or the given ones; answers how many. The
        archive of the queue keeps the messages."""
        call = forgotten(queue, ids, limit, actor or self._session.actor)
        return self._session.pool.run(call)[0].count

    def _sent(
        self,
        queue: str,
        messages: Sequence[object],
        headers: Sequence[object] | None,
        delay: Duration,
        conn: TheirsSync | None,
    ) -> list[int]:
        with self._traces.sending(queue, len(messages)) as span:
            call = sent(queue, messages, span.headed(headers, len(messages)), delay)
            [row] = self._session.pool.run(call, conn)
        if conn is None:
            self._session.wakes.wake(*to_queues([queue]))
        return row.msg_ids
