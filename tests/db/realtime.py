"""A stand-in for `realtime.send` of Supabase, which keeps what it was given."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from .hands import Connection, Hands

STAND_IN = """
create schema realtime;
create table realtime.sent (
  place bigint generated always as identity,
  payload jsonb, event text, topic text, private boolean);
create function realtime.send(
  payload jsonb, event text, topic text, private boolean default true)
returns void language sql as $$
  insert into realtime.sent (payload, event, topic, private)
  values (payload, event, topic, private)
$$;
"""
BROKEN = """
create or replace function realtime.send(
  payload jsonb, event text, topic text, private boolean default true)
returns void language plpgsql as $$
begin
  if event like 'step:%' then
    raise exception 'the channel is gone';
  end if;
  insert into realtime.sent (payload, event, topic, private)
  values (payload, event, topic, private);
end
$$;
"""


def install(conn: Connection) -> None:
    conn.execute(STAND_IN)


def names(hands: Hands, run: UUID | None = None) -> list[str]:
    """The events that were sent, of one run or of all, in order."""
    return [event for _, event in sent(hands, run)]


def sent(hands: Hands, run: UUID | None = None) -> list[tuple[dict[str, Any], str]]:
    return [
        (payload, event)
        for payload, event in hands.rows(
            "select payload, event from realtime.sent"
            " where %s::uuid is null or topic = 'pgflow:run:' || %s order by place",
            run,
            run,
        )
    ]
