"""What the queue workers of an app do: one message after the other, until none is visible."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

from stepwell.db.messages import (
    Message,
    close_messages,
    ensure_queue,
    next_message_at,
    read_messages,
)
from stepwell.db.pool import Pool
from stepwell.define.app import Stepwell
from stepwell.testing.tally import NeverQuiet, Tally, tally_of_message
from stepwell.worker.body import Hands
from stepwell.worker.queue_attempt import handle
from stepwell.worker.queue_message import AnyQueueWorker, Handled, Held, back


class Messages:
    """The queues of an app. Nothing of it runs but in `run`."""

    def __init__(self, app: Stepwell, pool: Pool, hands: Hands) -> None:
        self._workers = {each.queue: each for each in app.queues}
        self._pool = pool
        self._hands = hands

    async def open(self) -> None:
        """Make the queues that are not there."""
        for queue in self._workers:
            await self._pool.run(ensure_queue(queue))

    def has(self, queue: str | None) -> bool:
        return queue in self._workers

    async def next(self) -> datetime | None:
        """When the next message is visible that is hidden now."""
        if not self._workers:
            return None
        [found] = await self._pool.run(next_message_at(list(self._workers)))
        return found.visible_at

    async def run(self, tally: Tally, max_steps: int, queue: str | None = None) -> Tally:
        """Handle what is visible, and add it to a tally."""
        for worker in self._workers.values():
            if queue in (None, worker.queue):
                while held := await self._read(worker):
                    if tally.steps >= max_steps:
                        await self._write(Handled(held, back(held), 0.0))
                        raise NeverQuiet(tally, max_steps)
                    handled = await self._handled(held)
                    lost = await self._write(handled)
                    tally += tally_of_message(handled, lost=lost)
        return tally

    async def _read(self, worker: AnyQueueWorker) -> Held | None:
        call = read_messages(worker.queue, worker.visibility_timeout, 1)
        messages: list[Message] = await self._pool.run(call)
        return Held(worker, messages[0], self._hands.worker_id) if messages else None

    async def _handled(self, held: Held) -> Handled:
        """In a task of its own, as handlers of steps are."""
        began = time.perf_counter()
        running = asyncio.create_task(handle(held, self._hands))
        try:
            await asyncio.wait({running})
        finally:
            if not running.done():  # the drain was cut off
                held.release()
                running.cancel()
                await asyncio.wait({running}, timeout=1.0)
                await self._write(Handled(held, back(held), 0.0))
        return Handled(held, running.result(), time.perf_counter() - began)

    async def _write(self, handled: Handled) -> bool:
        """Answers whether the message was somebody else's, or gone."""
        held = handled.held
        if held.settled or held.gone:
            return not held.settled
        call = close_messages(held.queue, [handled.ending], self._hands.worker_id)
        [closed] = await self._pool.run(call)
        return held.msg_id in closed.lost
