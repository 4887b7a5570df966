"""Forced orders: a call that must wait for a lock, and the proof that it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

from .hands import Connection

Answer = TypeVar("Answer")
PATIENCE = 30.0


@contextmanager
def transaction(conn: Connection) -> Generator[None]:
    """Whatever it locks stays locked until the block ends, however the block ends."""
    with conn.transaction():
        yield


def held_up(call: Callable[[], Answer], waiter: Connection, blocker: Connection) -> Future[Answer]:
    """Run a call of `waiter` in a thread; return once it waits for a lock of `blocker`."""
    future = begin(call)
    pid, by = waiter.info.backend_pid, blocker.info.backend_pid
    deadline = time.monotonic() + PATIENCE
    with psycopg.connect(blocker.info.dsn, autocommit=True) as watcher:
        while by not in _blockers(watcher, pid):
            assert not future.done(), f"it did not wait: {future.result()}"
            assert time.monotonic() < deadline, "it neither ended nor waited"
    return future


def begin(call: Callable[[], Answer]) -> Future[Answer]:
    """Run it in a thread that does not keep the test from ending."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def waits_for_none(call: Callable[[], Answer], conn: Connection) -> Answer:
    """Run a call that must not wait for any lock."""
    conn.execute("set lock_timeout = '50ms'")
    try:
        return call()
    finally:
        conn.execute("reset lock_timeout")


def _blockers(watcher: psycopg.Connection[Any], pid: int) -> list[int]:
    row = watcher.execute("select pg_blocking_pids(%s)", (pid,)).fetchone()
    return row[0] if row else []
