"""A flow that workers of pgflow's kind serve, seen as a queue."""

from __future__ import annotations

from tests.chaos.foreign import ForeignWorker, Message
from tests.db.hands import Hands
from tests.db.shapes import Shape


def foreign(hands: Hands, shape: Shape) -> ForeignWorker:
    """A flow, and a registered worker of it on the same connection."""
    hands.define(shape)
    worker = ForeignWorker(hands.conn, shape["slug"])
    worker.register()
    return worker


def read(worker: ForeignWorker, vt: int = 5, qty: int = 10) -> list[Message]:
    """Without waiting."""
    found = worker.rows("select * from pgmq.read(%s, %s, %s)", worker.flow, vt, qty)
    return [Message(*row) for row in found]


def steps(messages: list[Message]) -> list[tuple[str, int]]:
    return [(message.message["step_slug"], message.message["task_index"]) for message in messages]
