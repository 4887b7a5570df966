"""The pool for programs without an event loop. Threads may share it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus

from stepwell.db.connect import connect_options
from stepwell.db.pool import LONGEST_IDLE
from stepwell.db.sync.repeating import SyncRepeating


@dataclass(slots=True)
class Idle:
    conn: Connection[Any]
    since: float


@dataclass(slots=True)
class Home:
    """What belongs to one process; a forked child gets connections of its own."""

    process: int
    slots: threading.Semaphore
    idle: list[Idle] = field(default_factory=list[Idle])


class SyncPool(SyncRepeating):
    """What Pool is, with blocking calls."""

    def __init__(
        self,
        dsn: str = "",
        *,
        max_size: int = 10,
        timeout: float = 10.0,
        application_name: str = "stepwell",
    ) -> None:
        self._options = connect_options(dsn, timeout, application_name)
        self._max_size = max_size
        self._timeout = timeout
        self._here = self._new_home()

    @contextmanager
    def connection(self) -> Generator[Connection[Any]]:
        """Borrow a connection, for as long as there are fewer than `max_size` others out."""
        home = self._home()
        with home.slots:
            conn = self._rested(home) or Connection[Any].connect(**self._options)
            try:
                yield conn
            finally:
                self._take_back(conn, home)

    def close(self) -> None:
        """Close what is at rest. Using the pool again opens it again."""
        home, self._here = self._here, self._new_home()
        drop(home)

    def _rested(self, home: Home) -> Connection[Any] | None:
        while True:
            try:
                conn = home.idle.pop().conn
            except IndexError:
                return None
            if not conn.closed:
                return conn

    def _take_back(self, conn: Connection[Any], home: Home) -> None:
        if conn.closed:  # what rested meanwhile is likely to be broken too
            drop(home)
        elif home is not self._here or conn.info.transaction_status != TransactionStatus.IDLE:
            conn.close()
        else:
            home.idle.append(Idle(conn, time.monotonic()))

    def _home(self) -> Home:
        if self._here.process != os.getpid():
            _of_parents.append(self._here)
            self._here = self._new_home()
        if self._here.idle and time.monotonic() - self._here.idle[-1].since > LONGEST_IDLE:
            drop(self._here)
        return self._here

    def _new_home(self) -> Home:
        return Home(os.getpid(), threading.Semaphore(self._max_size))


_of_parents: list[Home] = []


def drop(home: Home) -> None:
    """Close the connections at rest; those of a parent process are its own, and left alone."""
    if home.process != os.getpid():
        _of_parents.append(home)
        return
    while home.idle:
        try:
            home.idle.pop().conn.close()
        except IndexError:  # another thread took it
            return
