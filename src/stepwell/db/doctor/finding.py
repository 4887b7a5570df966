"""What an examination of a database finds, and from where on something is a finding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, LiteralString, TypeAlias

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from stepwell.settings import Settings

Severity = Literal["error", "warning", "info"]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong (`error`), that will do harm (`warning`), or that is good to know
    (`info`). `check` is a word for programs; `remedies` are commands or SQL, to be read before they
    are run."""

    check: str
    severity: Severity
    what: str
    why: str
    remedies: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Times are seconds. `patience` is how long one question to the database may take, `heard` how
    long a notification may."""

    patience: float = 5.0
    heard: float = 3.0
    old_transaction: float = 300.0
    lock_wait: float = 30.0
    slot_bytes: float = 1e9
    slot_age: int = 1_000_000  # transactions that a slot or a standby holds back
    frozen_age: int = 1_200_000_000
    connections: float = 0.85
    dead_tuples: int = 20_000
    index_bytes: float = 256e6
    table_rows: float = 20e6
    notify_queue: float = 0.25
    clock: float = 5.0
    late: float = 60.0
    queue_age: float = 300.0
    unpruned: float = 86_400.0


class Examination:
    """One look at one database: what every check is given."""

    def __init__(
        self, conn: AsyncConnection[Any], settings: Settings, thresholds: Thresholds
    ) -> None:
        self.conn = conn
        self.settings = settings
        self.thresholds = thresholds

    @property
    def margin(self) -> timedelta:
        """How late something may be that nobody is to blame for."""
        return timedelta(seconds=self.thresholds.late)

    async def ask(self, sql: LiteralString, *arguments: object) -> Rows:
        async with self.conn.cursor(row_factory=dict_row) as cursor:
            return await (await cursor.execute(sql, arguments)).fetchall()


Check: TypeAlias = Callable[[Examination], Awaitable[list[Finding]]]


def duration(seconds: float) -> str:
    """For a sentence: 40 s, 12 min, 5 h, 3 days."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count:.0f} bytes"


def counted(count: int, what: str, most: int = 10_000) -> str:
    """`1 task`, `3 tasks`, `10000 tasks or more`."""
    text = f"{count} {what}{'' if count == 1 else 's'}"
    return f"{text} or more" if count >= most else text


def literal(value: str) -> str:
    """For SQL that a person will run."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """An identifier for SQL that a person will run."""
    if value.isidentifier() and value == value.lower() and value.isascii():
        return value
    return '"' + value.replace('"', '""') + '"'
