"""Look a database over, without changing anything: what is wrong, why it matters, what helps.

Each check is a transaction of its own that is read-only and ends in time. What a role may not see,
or what takes too long, is left out and said so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection

from stepwell.db.connect import connect_options
from stepwell.db.doctor import holding, schema, server, tables, upkeep, wakes, work
from stepwell.db.doctor.finding import Check, Examination, Finding, Severity, Thresholds
from stepwell.db.encoding import check_encoding
from stepwell.errors import StepwellError
from stepwell.settings import Settings

__all__ = ["Diagnosis", "Finding", "Thresholds", "examine"]

ORDER: tuple[Severity, ...] = ("error", "warning", "info")
SERVER: tuple[Check, ...] = (
    server.server,
    server.connections,
    holding.transactions,
    holding.sight,
    holding.lock_waits,
    holding.prepared,
    holding.slots,
    holding.standbys,
    holding.wraparound,
    server.notifications,
)
TABLES: tuple[Check, ...] = (
    tables.indexes,
    tables.tables,
    schema.changed_functions,
    schema.rights,
)
WORK: tuple[Check, ...] = (
    work.lanes,
    work.workers,
    work.clocks,
    work.timers,
    work.losses,
    work.gates,
    work.bare_runs,
    upkeep.schedules,
    upkeep.letters,
    upkeep.messages,
    upkeep.pruning,
    upkeep.archives,
    upkeep.refusals,
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, what is worst first; how many checks were made, and which were not."""

    findings: tuple[Finding, ...]
    checks: int
    unchecked: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Nothing is wrong, and nothing will be."""
        return all(each.severity == "info" for each in self.findings)


async def examine(settings: Settings, thresholds: Thresholds | None = None) -> Diagnosis:
    """Look over the database of these settings."""
    options = connect_options(settings.dsn, settings.connect_timeout, "stepwell doctor")
    async with await AsyncConnection[Any].connect(**options) as conn:
        check_encoding(conn)  # else not even names come as text
        look = Examination(conn, settings, thresholds or Thresholds())
        round_ = Round(look)
        for check in SERVER:
            await round_.make(check)
        if await round_.schema():
            for check in (*TABLES, *WORK):
                await round_.make(check)
        await round_.make(wakes.wakes, alone=True)
        return round_.diagnosis()


class Round:
    """The checks made so far, and what came of them."""

    def __init__(self, look: Examination) -> None:
        self._look = look
        self._findings: list[Finding] = []
        self._unchecked: list[str] = []
        self._checks = 0

    async def make(self, check: Check, *, alone: bool = False) -> None:
        """`alone`: it opens its own transactions."""
        self._checks += 1
        try:
            if alone:
                self._findings += await check(self._look)
            else:
                async with self._reading():
                    self._findings += await check(self._look)
        except (psycopg.Error, StepwellError) as error:
            self._left_out(check.__name__, error)

    async def schema(self) -> bool:
        """Whether the rest can be asked."""
        self._checks += 1
        try:
            async with self._reading():
                found, usable = await schema.schema(self._look)
        except psycopg.Error as error:
            self._left_out("schema", error)
            return False
        self._findings += found
        return usable

    def diagnosis(self) -> Diagnosis:
        worst_first = sorted(self._findings, key=lambda each: ORDER.index(each.severity))
        return Diagnosis(tuple(worst_first), self._checks, tuple(self._unchecked))

    def _left_out(self, what: str, error: Exception) -> None:
        if self._look.conn.broken:
            raise error
        said = str(error).strip().splitlines()[0]
        self._unchecked.append(f"{what.replace('_', ' ')}: {said}")

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[None]:
        conn, patience = self._look.conn, self._look.thresholds.patience
        async with conn.transaction():
            await conn.execute("set transaction read only")
            await conn.execute(
                "select set_config('statement_timeout', %(ms)s, true),"
                " set_config('lock_timeout', %(ms)s, true)",
                {"ms": str(round(patience * 1000))},
            )
            yield
