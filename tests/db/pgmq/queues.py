"""Plain queues, by pgmq's own calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]


@dataclass(slots=True)
class Queues:
    conn: Connection

    def rows(self, query: LiteralString, *args: Any) -> list[Row]:
        return self.conn.execute(query, args).fetchall()

    def value(self, query: LiteralString, *args: Any) -> Any:
        return self.rows(query, *args)[0][0]

    def create(self, *names: str) -> None:
        for name in names:
            self.conn.execute("select pgmq.create(%s)", (name,))

    def send(self, name: str, *messages: Any) -> list[int]:
        return [
            self.value("select * from pgmq.send(queue_name => %s, msg => %s)", name, Jsonb(m))
            for m in messages
        ]

    def read(self, name: str, vt: int = 30, qty: int = 10) -> list[Row]:
        return self.rows(
            "select * from pgmq.read(queue_name => %s, vt => %s, qty => %s)", name, vt, qty
        )

    def said(self, name: str, vt: int = 30, qty: int = 10) -> list[Any]:
        """The bodies of what is read."""
        return [row[4] for row in self.read(name, vt, qty)]

    def at(self, moment: str) -> None:
        """Stop the clock of this connection so long from the server's time."""
        self.conn.execute(
            "select set_config('pgflow.now', (clock_timestamp() + %s::interval)::text, false)",
            (moment,),
        )
