"""Our pgmq has the functions of pgmq 1.5.1 (and its notifications), its types and its tables."""

from __future__ import annotations

import pytest

from .queues import Queues

LATER = ("delay integer", "delay timestamp with time zone")
FUNCTIONS: dict[str, tuple[set[str], str]] = {
    "create": ({"queue_name text"}, "void"),
    "create_non_partitioned": ({"queue_name text"}, "void"),
    "create_unlogged": ({"queue_name text"}, "void"),
    "drop_queue": ({"queue_name text"}, "boolean"),
    "list_queues": ({""}, "SETOF pgmq.queue_record"),
    "send": (
        {
            "queue_name text, msg jsonb",
            "queue_name text, msg jsonb, headers jsonb",
            *(f"queue_name text, msg jsonb, {delay}" for delay in LATER),
            *(f"queue_name text, msg jsonb, headers jsonb, {delay}" for delay in LATER),
        },
        "SETOF bigint",
    ),
    "send_batch": (
        {
            "queue_name text, msgs jsonb[]",
            "queue_name text, msgs jsonb[], headers jsonb[]",
            *(f"queue_name text, msgs jsonb[], {delay}" for delay in LATER),
            *(f"queue_name text, msgs jsonb[], headers jsonb[], {delay}" for delay in LATER),
        },
        "SETOF bigint",
    ),
    "read": (
        {"queue_name text, vt integer, qty integer, conditional jsonb DEFAULT '{}'::jsonb"},
        "SETOF pgmq.message_record",
    ),
    "read_with_poll": (
        {
            "queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5,"
            " poll_interval_ms integer DEFAULT 100, conditional jsonb DEFAULT '{}'::jsonb"
        },
        "SETOF pgmq.message_record",
    ),
    "pop": ({"queue_name text"}, "SETOF pgmq.message_record"),
    "set_vt": ({"queue_name text, msg_id bigint, vt integer"}, "SETOF pgmq.message_record"),
    "archive": ({"queue_name text, msg_id bigint"}, "boolean"),
    "delete": ({"queue_name text, msg_id bigint"}, "boolean"),
    "purge_queue": ({"queue_name text"}, "bigint"),
    "metrics": ({"queue_name text"}, "pgmq.metrics_result"),
    "metrics_all": ({""}, "SETOF pgmq.metrics_result"),
    "format_table_name": ({"queue_name text, prefix text"}, "text"),
    "enable_notify_insert": (
        {"queue_name text, throttle_interval_ms integer DEFAULT 250"},
        "void",
    ),
    "disable_notify_insert": ({"queue_name text"}, "void"),
}
BATCHES = {"archive", "delete"}
TIME = "timestamp with time zone"
RELATIONS = {
    "message_record": [
        ("msg_id", "bigint"),
        ("read_ct", "integer"),
        ("enqueued_at", TIME),
        ("vt", TIME),
        ("message", "jsonb"),
        ("headers", "jsonb"),
    ],
    "queue_record": [
        ("queue_name", "character varying"),
        ("is_partitioned", "boolean"),
        ("is_unlogged", "boolean"),
        ("created_at", TIME),
    ],
    "metrics_result": [
        ("queue_name", "text"),
        ("queue_length", "bigint"),
        ("newest_msg_age_sec", "integer"),
        ("oldest_msg_age_sec", "integer"),
        ("total_messages", "bigint"),
        ("scrape_time", TIME),
        ("queue_visible_length", "bigint"),
    ],
}
RELATIONS["meta"] = RELATIONS["queue_record"]
RELATIONS["q_tasks"] = RELATIONS["message_record"]
RELATIONS["a_tasks"] = sorted([*RELATIONS["q_tasks"], ("archived_at", TIME)])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_arguments_and_the_result_of_pgmq(queues: Queues, name: str) -> None:
    rows = queues.rows(
        "select pg_get_function_arguments(oid), pg_get_function_result(oid) from pg_proc"
        " where pronamespace = 'pgmq'::regnamespace and proname = %s",
        name,
    )
    arguments, result = FUNCTIONS[name]
    expected = {(each, result) for each in arguments}
    if name in BATCHES:
        expected.add(("queue_name text, msg_ids bigint[]", "SETOF bigint"))
    assert set(rows) == expected and len(rows) == len(expected)


@pytest.mark.parametrize("name", RELATIONS)
def test_a_type_or_table_has_the_columns_of_pgmq(queues: Queues, name: str) -> None:
    queues.create("tasks")
    columns = queues.rows(
        "select attname, format_type(atttypid, null) from pg_attribute"
        " where attrelid = ('pgmq.' || %s)::regclass and attnum > 0 order by attnum",
        name,
    )
    ours = [(str(name), str(kind)) for name, kind in columns]
    if name.startswith("a_"):
        ours.sort()
    assert ours[: len(RELATIONS[name])] == RELATIONS[name]
    assert len(ours) == len(RELATIONS[name]) or name == "meta"


def test_what_users_call_is_safe_from_their_search_path(queues: Queues) -> None:
    """Whoever may make a table in a schema before pg_catalog cannot change what these do."""
    unsafe = queues.rows(
        "select oid::regprocedure from pg_proc where pronamespace = 'pgmq'::regnamespace"
        " and prosqlbody is null and coalesce(array_to_string(proconfig, ','), '') not like %s",
        "%search_path=%",
    )
    assert unsafe == []


def test_nobody_but_the_owner_sees_the_schema(queues: Queues) -> None:
    assert not queues.value("select has_schema_privilege('pg_monitor', 'pgmq', 'usage')")


def test_the_functions_of_our_pgmq_are_valid(queues: Queues) -> None:
    """They are installed unchecked, as they may name each other in any order."""
    definitions = queues.rows(
        "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'pgmq'::regnamespace"
    )
    assert len(definitions) > 40
    for (definition,) in definitions:
        queues.conn.execute(definition)
