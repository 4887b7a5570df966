"""What bodies say, before it is written: gathered from any thread, capped, lost for nobody else."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from stepwell import RunLogHandler
from stepwell.db.call import Call
from stepwell.db.claim import Task
from stepwell.db.notes import Noted
from stepwell.observe.capture import speaking
from stepwell.observe.emit import subscribed
from stepwell.observe.events import Event, NotesLost
from stepwell.worker.notes import Notebook, Notes


def task(token: int) -> Task:
    values: dict[str, Any] = dict.fromkeys(Task.__dataclass_fields__)
    values |= {"message_id": token * 10, "claim_token": token, "run_id": uuid4(), "attempt": 1}
    values |= {"flow_slug": "f", "step_slug": "s", "task_index": 0}
    return Task(**values)


class Table:
    """Stands in for write_notes: what was written, and what it says of some tokens."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], tuple[str, str]] = {}
        self.shares: dict[int, tuple[float | None, str | None]] = {}
        self.says: dict[int, str] = {}
        self.refuses: set[int] = set()
        self.calls = 0

    async def write(self, call: Call[Noted]) -> list[Noted]:
        self.calls += 1
        _, tokens, shares, said, ago, line_tokens, numbers, lines_ago, levels, lines = call.args
        await asyncio.sleep(0)
        if self.refuses & set(tokens):
            raise psycopg.errors.InsufficientPrivilege("not you")
        assert lines_ago == sorted(lines_ago, reverse=True)
        kept = {token for token in tokens if self.says.get(token, "written") == "written"}
        for token, n, level, line in zip(line_tokens, numbers, levels, lines, strict=True):
            if token in kept:
                self.rows[token, n] = (level, line)
        for token, *share, when in zip(tokens, shares, said, ago, strict=True):
            if token in kept and when is not None:
                self.shares[token] = (share[0], share[1])
        return [Noted(token, self.says.get(token, "written")) for token in tokens]

    def lines(self, token: int) -> list[str]:
        return [line for (of, _), (_, line) in sorted(self.rows.items()) if of == token]


async def test_lines_are_written_once_and_in_order_whatever_is_said_meanwhile() -> None:
    table = Table()
    notes, book = Notes(table.write), Notebook(task(1))
    await notes.settle(1)
    assert table.calls == 0  # nothing said, nothing done

    def speak(number: int) -> None:
        for n in range(100):
            notes.log(book, "info", f"{number} {n}")
            notes.progress(book, n / 100, None)

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(3)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        await notes.close()
    for each in threads:
        each.join()
    await notes.settle(1)
    said = table.lines(1)
    assert len(said) == len(set(said)) == 300
    for n in range(3):
        assert [line for line in said if line[0] == str(n)] == [f"{n} {i}" for i in range(100)]
    assert table.shares == {1: (0.99, None)}
    calls = table.calls
    await notes.settle(1)
    assert table.calls == calls


async def test_an_attempt_keeps_so_many_lines_and_bytes_and_says_how_many_more_there_were() -> None:
    table = Table()
    notes = Notes(table.write, lines=3, size=20)
    few, long = Notebook(task(1)), Notebook(task(2))
    for n in range(5):
        notes.log(few, "debug", f"{n}")
        await notes.settle(1)
    assert table.lines(1)[:3] == ["0", "1", "2"]
    assert table.rows[1, 4] == (
        "warning",
        "2 more lines were dropped: an attempt keeps 3 lines and 20 bytes",
    )
    assert len(table.lines(1)) == 4
    notes.log(long, "info", "ü" * 9)
    notes.log(long, "info", "ü" * 2)
    notes.log(long, "info", "u")  # it would fit, but then the order would lie
    none = Notes(table.write, lines=0)
    none.log(Notebook(task(3)), "info", "a")
    await none.settle(3)
    assert table.lines(3) == []
    await notes.settle(2)
    assert table.lines(2) == [
        "ü" * 9,
        "2 more lines were dropped: an attempt keeps 3 lines and 20 bytes",
    ]


async def test_what_a_column_cannot_hold_is_no_reason_to_fail() -> None:
    table = Table()
    notes, book = Notes(table.write), Notebook(task(1))
    notes.log(book, "info", "a\0b\ud800c")
    notes.log(book, "info", "x" * 20_000)
    notes.progress(book, 7, "y" * 1000)
    await notes.settle(1)
    first, second = table.lines(1)
    assert "\0" not in first and first.encode()
    assert len(second) == 10_001
    assert table.shares[1] == (1.0, "y" * 500 + "…")
    for share in (math.nan, "half", True):
        with pytest.raises((TypeError, ValueError), match="a share from 0 to 1"):
            notes.progress(book, share, None)  # pyright: ignore[reportArgumentType]


async def test_a_claim_that_is_over_is_forgotten_and_a_held_task_is_tried_again() -> None:
    table = Table()
    notes, over, held = Notes(table.write), Notebook(task(1)), Notebook(task(2))
    table.says = {1: "stale", 2: "busy"}
    notes.log(over, "info", "late")
    notes.log(held, "info", "a")
    await notes.close()
    notes.log(over, "info", "later")
    calls = table.calls
    await notes.settle(1)
    assert table.calls == calls
    table.says = {}
    notes.log(held, "info", "b")
    await notes.settle(2)
    assert (table.lines(1), table.lines(2)) == ([], ["a", "b"])


async def test_what_is_refused_of_one_is_not_lost_of_others_and_is_told() -> None:
    table = Table()
    notes, bad, good = Notes(table.write), Notebook(task(1)), Notebook(task(2))
    table.refuses = {1}
    events: list[Event] = []
    with subscribed(events.append):
        notes.log(bad, "info", "a")
        notes.log(good, "info", "b")
        await notes.settle(1)
    assert table.lines(2) == ["b"]
    [lost] = events
    assert isinstance(lost, NotesLost)
    assert (lost.lines, lost.error) == (1, "not you")
    table.refuses = set()
    notes.log(bad, "info", "again")
    await notes.settle(1)
    assert table.lines(1) == ["again"]


async def test_the_loop_writes_soon_and_then_about_once_a_second() -> None:
    table, now = Table(), datetime.now(UTC)
    notes, book = Notes(table.write), Notebook(task(1))
    loop = asyncio.create_task(notes.run())
    for n in range(20):
        notes.log(book, "info", str(n))
        while n == 0 and not table.rows:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
    while len(table.rows) < 20:
        await asyncio.sleep(0.01)
    assert table.calls <= 2 + (datetime.now(UTC) - now).total_seconds()
    loop.cancel()


def test_python_logging_is_kept_by_who_speaks() -> None:
    kept: list[tuple[str, str]] = []

    class Speaker:
        def keep(self, level: str, message: str) -> None:
            kept.append((level, message))

    logger = logging.Logger("shop")
    logger.addHandler(handler := RunLogHandler(level=logging.INFO))
    logger.error("nobody runs")
    token = speaking.set(Speaker())
    try:
        logger.debug("below")
        logger.info("%d cups", 2)
        logger.critical("out of tea")
        handler.handle(logging.makeLogRecord({"name": "stepwell.db", "msg": "ours"}))
    finally:
        speaking.reset(token)
    assert kept == [("info", "2 cups"), ("error", "out of tea")]
