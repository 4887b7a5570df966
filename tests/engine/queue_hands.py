"""What the tests of queue workers share."""

from __future__ import annotations

from typing import Any

from stepwell.observe.events import MessageArchived, MessageFailed

from .workshop import Serving, Workshop

PATIENCE = 40.0


async def send(workshop: Workshop, *messages: Any, queue: str = "tasks") -> None:
    await workshop.client.send_batch(queue, messages)


def create(workshop: Workshop, queue: str = "tasks") -> None:
    workshop.rows("select pgmq.create(%s)", queue)


async def archived(serving: Serving, many: int = 1) -> list[MessageArchived]:
    """What was archived, once it is so many."""
    events = serving.events
    await events.until(lambda: len(events.of(MessageArchived)) >= many, PATIENCE)
    return events.of(MessageArchived)


async def failed(serving: Serving, many: int = 1) -> list[MessageFailed]:
    """The tries that failed, once they are so many."""
    events = serving.events
    await events.until(lambda: len(events.of(MessageFailed)) >= many, PATIENCE)
    return events.of(MessageFailed)
