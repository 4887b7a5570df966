"""Queue workers get on with the extension: what they ask of the database reaches its queues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from stepwell.db.messages import (
    Ending,
    close_messages,
    ensure_queue,
    extend_messages,
    list_dead_letters,
    read_messages,
    resend_dead_letters,
    send_messages,
)

from .test_extension import EXTENSION, migrated

# what the stand-in lacks of the extension
MORE: LiteralString = """
    create function pgmq.send_batch(
      queue_name text, msgs jsonb[], headers jsonb[], delay timestamptz
    ) returns setof bigint language plpgsql as $$
    begin
      return query execute format(
        'insert into pgmq.%I (vt, message, headers) select $1, m, h from unnest($2, $3) t (m, h)'
        ' returning msg_id', pgmq.format_table_name(queue_name, 'q')) using delay, msgs, headers;
    end $$;

    create function pgmq.archive(queue_name text, msg_ids bigint[])
    returns setof bigint language sql as $$
      select id from unnest(msg_ids) id where pgmq.archive(queue_name, id) $$;
"""
NOTIFY: LiteralString = """
    create function pgmq.told() returns trigger language plpgsql as $$ begin return null; end $$;
    create function pgmq.enable_notify_insert(queue_name text, throttle_interval_ms int default 250)
    returns void language plpgsql as $$
    begin
      execute format('create trigger trigger_notify_queue_insert after insert on pgmq.%I'
        ' for each row execute function pgmq.told()', pgmq.format_table_name(queue_name, 'q'));
    end $$;
"""


@pytest.fixture
def conn(empty_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(EXTENSION)
        conn.execute(MORE)
        migrated(empty_dsn)
        yield conn


def test_messages_go_their_way_through_the_extension(conn: psycopg.Connection) -> None:
    [made] = ensure_queue("Tasks").on_sync(conn)
    assert (made.created, made.channel) == (True, None), "this one announces nothing"
    assert not ensure_queue("Tasks").on_sync(conn)[0].created
    send_messages("Tasks", ["1", "2", "3"]).on_sync(conn)
    send_messages("Tasks", ["4"], ['{"h": 4}']).on_sync(conn)
    read = read_messages("Tasks", 30, 10).on_sync(conn)
    assert [(m.message, m.read_ct, m.headers) for m in read] == [
        ("1", 1, None),
        ("2", 1, None),
        ("3", 1, None),
        ("4", 1, '{"h": 4}'),
    ]
    done, again, dead, kept = read
    extended = extend_messages(
        "Tasks", [kept.msg_id], [kept.read_ct], [kept.visible_at], 60
    ).on_sync(conn)
    assert [row.msg_id for row in extended] == [kept.msg_id]
    endings = [
        Ending(done.msg_id, 1, "archived"),
        Ending(again.msg_id, 1, "retry", 0, "ValueError", "no"),
        Ending(dead.msg_id, 1, "dead", 0, "ValueError", "no"),
        Ending(kept.msg_id, 7, "archived"),
    ]
    assert close_messages("Tasks", endings).on_sync(conn)[0].lost == [kept.msg_id]
    assert [m.msg_id for m in read_messages("Tasks", 30, 10).on_sync(conn)] == [again.msg_id]
    archived = conn.execute("select msg_id from pgmq.a_tasks order by msg_id").fetchall()
    assert archived == [(done.msg_id,), (dead.msg_id,)]
    assert [letter.message for letter in list_dead_letters("Tasks").on_sync(conn)] == ["3"]
    assert len(resend_dead_letters("Tasks").on_sync(conn)) == 1


def test_inserts_are_announced_where_the_extension_can(conn: psycopg.Connection) -> None:
    """Its trigger is made once: making it again would wait for everybody who sends."""
    conn.execute(NOTIFY)
    for _ in range(2):
        [made] = ensure_queue("tasks").on_sync(conn)
        assert made.channel == "pgmq.q_tasks.INSERT"
