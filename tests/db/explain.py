"""What a call of the SQL core really does inside: every nested statement with its executed plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from psycopg.errors import Diagnostic

from .hands import Connection

LOAD = """
load 'auto_explain';
set auto_explain.log_min_duration = 0;
set auto_explain.log_nested_statements = on;
set auto_explain.log_analyze = on;
set auto_explain.log_buffers = on;
set auto_explain.log_timing = off;
set auto_explain.log_format = json;
"""


@dataclass(frozen=True, slots=True)
class Scan:
    """One scan node: the rows that it looked at, thrown away ones too, in all its loops."""

    kind: str
    table: str
    index: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One executed plan. The buffers of a statement include those of what it called."""

    text: str
    plan: dict[str, Any]

    @property
    def buffers(self) -> int:
        return sum(self.plan.get(f"Shared {kind} Blocks", 0) for kind in ("Hit", "Read"))

    @property
    def scans(self) -> list[Scan]:
        return [
            Scan(
                node["Node Type"],
                node.get("Relation Name") or node.get("Function Name") or "",
                node.get("Index Name"),
                _rows(node),
            )
            for node in _nodes(self.plan)
            if "Scan" in node["Node Type"]
        ]


def explained(conn: Connection, call: Callable[[], Any]) -> list[Statement]:
    """Run a call of the connection; its statements in the order they ended, the call's own last."""
    told: list[Statement] = []

    def listen(diagnostic: Diagnostic) -> None:
        said = diagnostic.message_primary or ""
        if "plan:\n" in said:
            plan = json.loads(said.split("plan:\n", 1)[1])
            told.append(Statement(plan["Query Text"], plan["Plan"]))

    conn.execute(LOAD)
    conn.add_notice_handler(listen)
    conn.execute("set client_min_messages = log")
    try:
        call()
    finally:
        conn.execute("set client_min_messages = warning")
        conn.execute("set auto_explain.log_min_duration = -1")
        conn.remove_notice_handler(listen)
    return [each for each in told if "client_min_messages" not in each.text]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _rows(node: dict[str, Any]) -> int:
    seen = node["Actual Rows"] + sum(
        count for name, count in node.items() if name.startswith("Rows Removed")
    )
    return round(seen * node["Actual Loops"])
