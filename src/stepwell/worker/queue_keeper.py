"""Keeps messages hidden from others while their handlers run: a thread and a connection of its own,
so that a handler that blocks the event loop does not lose its message."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psycopg

from stepwell.db.connect import connect_options
from stepwell.db.messages import extend_messages
from stepwell.errors import StepwellError
from stepwell.worker.queue_message import Held
from stepwell.worker.queue_reader import QueueReader

SHARE = 1 / 3  # of the shortest visibility timeout passes between two rounds


class Keeper:
    """Extends what its readers hold, again and again, and tells them what they lost."""

    def __init__(self, dsn: str, readers: Iterable[QueueReader]) -> None:
        self._dsn = dsn
        self._readers = list(readers)
        self._every = SHARE * min(r.definition.visibility_timeout for r in self._readers)
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()

    def start(self) -> None:
        threading.Thread(target=self._keep, name="stepwell-messages", daemon=True).start()

    def stop(self) -> None:
        """The thread ends by itself; one that hangs in a dead connection is a daemon."""
        self._stop.set()

    def _keep(self) -> None:
        conn: psycopg.Connection[Any] | None = None
        pause = self._every
        while not self._stop.wait(pause):
            pause = self._every
            for reader in self._readers:
                try:
                    if conn is None or conn.closed:
                        conn = psycopg.connect(**self._options)
                    self._extend(conn, reader)
                except (psycopg.OperationalError, RuntimeError):  # or the dict changed just now
                    pause = min(1.0, self._every / 5)
                    if conn is not None:
                        conn.close()
                except (psycopg.Error, StepwellError):
                    continue  # the queue is gone, say: its reader tells
        if conn is not None:
            conn.close()

    def _extend(self, conn: psycopg.Connection[Any], reader: QueueReader) -> None:
        holding = list(reader.holding.values())
        held = [each for each in holding if not (each.gone or each.closing or each.settled)]
        if not held:
            return
        call = extend_messages(
            reader.queue,
            [each.msg_id for each in held],
            [each.read_ct for each in held],
            [each.visible_at for each in held],
            reader.definition.visibility_timeout,
        )
        extended = {row.msg_id: row.visible_at for row in call.on_sync(conn)}
        lost: list[Held] = []
        for each in held:
            if each.msg_id in extended:
                each.visible_at = extended[each.msg_id]
            else:
                lost.append(each)
        if lost:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(reader.lose, lost, context=self._context)

    @property
    def _options(self) -> dict[str, Any]:
        return connect_options(self._dsn, self._every, "stepwell messages")
