"""A call of one SQL function, as a value. Build it anywhere; run it on any connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, LiteralString, TypeVar

from psycopg import AsyncConnection, Connection, DatabaseError
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from stepwell.db.foreign import FOREIGN, not_ours
from stepwell.errors import NotFound, SchemaError, StepwellError, from_sqlstate

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Call(Generic[Row]):
    """Sync and async, pooled or inside your own transaction: the same value serves all four."""

    sql: LiteralString
    args: tuple[Any, ...]
    row: type[Row]

    async def on(self, conn: AsyncConnection[Any]) -> list[Row]:
        try:
            async with conn.cursor(row_factory=class_row(self.row)) as cursor:
                return await (await cursor.execute(self.sql, self.args)).fetchall()
        except DatabaseError as error:
            asked = await conn.execute(FOREIGN) if lacks_schema(error, conn) else None
            if asked and await asked.fetchone():
                raise not_ours() from error
            if ours := translated(error):
                raise ours from error
            raise

    def on_sync(self, conn: Connection[Any]) -> list[Row]:
        try:
            with conn.cursor(row_factory=class_row(self.row)) as cursor:
                return cursor.execute(self.sql, self.args).fetchall()
        except DatabaseError as error:
            if lacks_schema(error, conn) and conn.execute(FOREIGN).fetchone():
                raise not_ours() from error
            if ours := translated(error):
                raise ours from error
            raise


NO_SCHEMA = {"3F000", "42883", "42P01"}  # no such schema, function, table


def lacks_schema(error: DatabaseError, conn: AsyncConnection[Any] | Connection[Any]) -> bool:
    """True when that is what it says, and the connection can be asked why: the error ended no
    transaction of the caller."""
    return says_no_schema(error) and conn.info.transaction_status == TransactionStatus.IDLE


def says_no_schema(error: DatabaseError) -> bool:
    return error.sqlstate in NO_SCHEMA and "pgflow" in (error.diag.message_primary or "")


def translated(error: DatabaseError) -> StepwellError | None:
    """Errors of our SQL core as ours; None for the driver's own, which pass through untouched."""
    return explained(error.sqlstate, error.diag.message_primary or "", error.diag.message_hint)


def explained(sqlstate: str | None, said: str, hint: str | None) -> StepwellError | None:
    """The same for what any driver says."""
    no_schema = sqlstate in NO_SCHEMA and "pgflow" in said
    if hint:
        said = f"{said}. {hint}"
    if no_schema:
        return SchemaError(
            f"this database has no Stepwell schema of this version ({said}); run `stepwell migrate`"
        )
    return from_sqlstate(sqlstate, said)


def one(rows: Sequence[Row]) -> Row:
    if not rows:
        raise NotFound("no row came back")
    return rows[0]
