"""One queue: read as many messages as there is room for, handle them, write how that ended. While
one batch is written the next one gathers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg

from stepwell.db.call import Call
from stepwell.db.link import Link
from stepwell.db.messages import Message, close_messages, ensure_queue, read_messages
from stepwell.errors import DatabaseUnavailable, DefinitionError, StepwellError
from stepwell.observe.emit import emit
from stepwell.observe.events import (
    MessageArchived,
    MessageFailed,
    MessageLost,
    MessageReleased,
    QueueFailed,
    QueueOpened,
)
from stepwell.worker.body import Hands
from stepwell.worker.imported import path_of
from stepwell.worker.message_span import handled, message_span
from stepwell.worker.queue_attempt import handle
from stepwell.worker.queue_message import AnyQueueWorker, Handled, Held, archived, back
from stepwell.worker.threads import Threads

LARGEST = 500
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 30.0
THROTTLE = 0.25  # seconds; inserts are announced that far apart at least
TRIES = 5  # to write a batch


class QueueReader:
    """Serves one queue. It holds at most `max_concurrent` messages, each until its end is written,
    so that what is slow to write is not piled up."""

    def __init__(
        self,
        definition: AnyQueueWorker,
        hands: Hands,
        poll: float,
        opened: Callable[[], None],
    ) -> None:
        self.definition = definition
        self.channel: str | None = None
        self.holding: dict[int, Held] = {}  # by the message's id
        self.bodies: set[asyncio.Task[None]] = set()
        self.released = 0
        self._poll = poll
        self._opened = opened
        self._threads = Threads(definition.max_concurrent, self._linger)
        self._hands = replace(hands, threads=self._threads, linger=self._linger)
        self._lingering = 0  # threads and child processes whose handler was given up
        self._ended: list[Handled] = []
        self._changed = asyncio.Event()
        self._look = True
        self._look_at = 0.0
        self._pause = FIRST_PAUSE
        self._closing = False

    @property
    def queue(self) -> str:
        return self.definition.queue

    @property
    def free(self) -> int:
        """How many more messages fit."""
        taken = len(self.holding) + self._lingering
        return 0 if self._closing else max(0, self.definition.max_concurrent - taken)

    def close(self) -> None:
        """Read nothing more; `run` ends once what is in hand has ended and is written."""
        self._closing = True
        self._changed.set()

    def cut_off(self) -> None:
        """What is in hand goes back to the queue."""
        for held in self._running():
            held.release()

    def woken(self) -> None:
        """There may be something to read."""
        self._look = True
        self._changed.set()

    def announced(self) -> None:
        """Something was put into it; what came soon after it was not announced."""
        self.woken()
        asyncio.get_running_loop().call_later(2 * THROTTLE, self.woken)

    def lose(self, lost: list[Held]) -> None:
        """These are somebody else's by now."""
        for held in lost:
            done = held.over or held.closing or held.settled  # gone because it is archived, perhaps
            if self.holding.get(held.msg_id) is held and not done:
                held.lose()

    async def run(self, link: Link) -> None:
        try:
            await self._open(link)
            while not (self._closing and not self.holding):
                await self._something_to_do()
                await asyncio.sleep(0)  # handlers that can end now share the batch
                await self._write(link)
                await self._read(link)
        finally:
            self._threads.close()

    async def _open(self, link: Link) -> None:
        """Make the queue, however long that takes: somebody may still have to mend what is wrong
        with it."""
        while not self._closing:
            rows = await self._tried(link, ensure_queue(self.queue)) if self._findable() else None
            if rows:
                self.channel = rows[0].channel
                self._opened()
                emit(QueueOpened(self.queue, rows[0].created))
                self._pause = FIRST_PAUSE
                return
            await self._rest()

    def _findable(self) -> bool:
        """Whether a child process would find what is to run in one."""
        try:
            if self.definition.process:
                path_of(self.definition)
            return True
        except DefinitionError as error:
            emit(QueueFailed(self.queue, str(error)))
            return False

    async def _something_to_do(self) -> None:
        while not (
            self._ended or (self._look and self.free) or (self._closing and not self.holding)
        ):
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._look_at if self.free else None):
                    await self._changed.wait()
                    continue
            self._look = True

    async def _read(self, link: Link) -> None:
        want = min(self.free, LARGEST)
        if not (want and self._look):
            return
        self._look = False
        call = read_messages(self.queue, self.definition.visibility_timeout, want)
        messages = await self._tried(link, call)
        if messages is None:
            await self._rest()
        elif messages:
            self._pause = FIRST_PAUSE
            self._look = len(messages) == want
        else:
            self._pause = min(self._pause * 2, self._poll)
        self._look_at = asyncio.get_running_loop().time() + self._pause
        for message in messages or ():
            self._begin(message)

    def _begin(self, message: Message) -> None:
        held = Held(self.definition, message, self._hands.worker_id)
        if (before := self.holding.get(message.msg_id)) and not before.over:
            before.lose()  # its time was over before we could extend it
        self.holding[message.msg_id] = held
        if self._closing:  # we were told to stop while it came
            self._end(Handled(held, back(held), 0.0))
            return
        held.body = asyncio.create_task(self._handle(held))
        self.bodies.add(held.body)
        held.body.add_done_callback(partial(self._over, held))

    async def _handle(self, held: Held) -> None:
        began = time.perf_counter()
        ending = back(held)
        try:
            with message_span(held, self._hands.traces) as span:
                ending = await handle(held, self._hands)
                handled(span, ending)
        finally:
            ending = archived(held) if held.settled else ending
            self._end(Handled(held, ending, time.perf_counter() - began))

    def _over(self, held: Held, body: asyncio.Task[None]) -> None:
        self.bodies.discard(body)
        if not held.over:  # cut off before it began
            self._end(Handled(held, back(held), 0.0))

    def _end(self, handled: Handled) -> None:
        handled.held.over = True
        self._ended.append(handled)
        self._changed.set()

    async def _write(self, link: Link) -> None:
        ended, self._ended = self._ended, []
        open_ones = [each for each in ended if not each.held.settled]
        batch = [each for each in open_ones if not each.held.gone]
        lost = {each.held.msg_id for each in open_ones if each.held.gone}
        if batch:
            lost |= await self._closed(link, batch)
        for each in ended:
            if self.holding.get(each.held.msg_id) is each.held:
                del self.holding[each.held.msg_id]
            self._tell(each, each.held.msg_id in lost)
            if each.ending.outcome == "retry":
                asyncio.get_running_loop().call_later(each.ending.delay, self.woken)

    async def _closed(self, link: Link, batch: list[Handled]) -> set[int]:
        """Write endings; answers with those that were no longer ours. What cannot be written is
        given up: the messages are seen again when their time is over."""
        endings = [each.ending for each in batch]
        call = close_messages(self.queue, endings, self._hands.worker_id)
        pause = FIRST_PAUSE
        for _ in range(TRIES):
            if rows := await self._tried(link, call):
                return set(rows[0].lost)
            await asyncio.sleep(pause)
            pause *= 2
        return {each.held.msg_id for each in batch}

    async def _tried(self, link: Link, call: Call[Any]) -> list[Any] | None:
        """Run a call, however long the database is away. None: it refused, and said why. A queue
        may be gone, or not be ours to read; others are served meanwhile."""
        try:
            return await link.run(call)
        except DatabaseUnavailable:
            raise
        except (psycopg.Error, StepwellError) as error:
            emit(QueueFailed(self.queue, str(error).strip() or type(error).__name__))
            return None

    async def _rest(self) -> None:
        """After a refusal, longer each time, until there is something else to do."""
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                while not (self._closing or self._ended):
                    await self._changed.wait()
                    self._changed.clear()
        self._look = True

    def _running(self) -> Iterator[Held]:
        return (held for held in list(self.holding.values()) if not held.over)

    def _tell(self, handled: Handled, lost: bool) -> None:
        held, ending = handled.held, handled.ending
        facts = (held.queue, held.msg_id, held.read_ct)
        if lost:
            emit(MessageLost(*facts))
        elif ending.outcome == "archived":
            emit(MessageArchived(*facts, handled.seconds))
        elif ending.error_type is None:
            self.released += 1
            emit(MessageReleased(*facts))
        else:
            pause = None if ending.outcome == "dead" else ending.delay
            said = (ending.error_type, ending.error_message or "")
            emit(MessageFailed(*facts, handled.seconds, *said, pause))

    def _linger(self, _token: int, change: int) -> None:
        self._lingering += change
        self._changed.set()
