"""Runs that are as those of more than a gigabyte are: Postgres can make no document of them."""

from __future__ import annotations

from typing import Any, LiteralString, cast

from psycopg import Connection

SAYS = "invalid memory alloc request size 1073741824"


def tag_unreadable(conn: Connection[Any]) -> None:
    """From now on runs with the tag `unreadable` are so."""
    definition = "select pg_get_functiondef('pgflow.run_document'::regproc)"
    [[text]] = conn.execute(definition).fetchall()
    fails = f"""
    if exists (
      select from pgflow.runs r
      where r.run_id = run_document.run_id and 'unreadable' = any (r.tags)) then
      raise '{SAYS}';
    end if;
    """
    assert text.count("begin\n") == 1
    changed = text.replace("begin\n", "begin\n" + fails)
    conn.execute(cast(LiteralString, changed))
