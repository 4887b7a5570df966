"""A call of one SQL function, as a value. Build it anywhere; run it on any connection."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, LiteralString, TypeVar

from psycopg import AsyncConnection, Connection, DatabaseError
from psycopg.rows import class_row

from stepwell.errors import NotFound, SchemaError, from_sqlstate

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Call(Generic[Row]):
    """Sync and async, pooled or inside your own transaction: the same value serves all four."""

    sql: LiteralString
    args: tuple[Any, ...]
    row: type[Row]

    async def on(self, conn: AsyncConnection[Any]) -> list[Row]:
        with translated_errors():
            async with conn.cursor(row_factory=class_row(self.row)) as cursor:
                return await (await cursor.execute(self.sql, self.args)).fetchall()

    def on_sync(self, conn: Connection[Any]) -> list[Row]:
        with translated_errors(), conn.cursor(row_factory=class_row(self.row)) as cursor:
            return cursor.execute(self.sql, self.args).fetchall()


NO_SCHEMA = {"3F000", "42883", "42P01"}  # no such schema, function, table


@contextmanager
def translated_errors() -> Generator[None]:
    """Errors of our SQL core come out as ours; the driver's own pass through untouched."""
    try:
        yield
    except DatabaseError as error:
        said = error.diag.message_primary or ""
        if error.diag.message_hint:
            said = f"{said}. {error.diag.message_hint}"
        if ours := from_sqlstate(error.sqlstate, said):
            raise ours from error
        if error.sqlstate in NO_SCHEMA and "pgflow" in said:
            raise SchemaError(
                f"this database has no Stepwell schema of this version ({said}); "
                "run `stepwell migrate`"
            ) from error
        raise


def one(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NotFound("no row came back")
    return rows[0]
