"""Tables, indexes and functions that are not as they were made, and what mends them."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg import AsyncConnection

from stepwell.db.doctor.examine import Finding
from stepwell.db.doctor.tables import expected
from stepwell.db.files import SQL
from stepwell.db.migrate import migrate
from tests.db.conftest import Connect
from tests.db.hands import Hands
from tests.db.shapes import single
from tests.unbuilt import LEFT, STEPS, UNBUILD

from .patient import Plant, found_in, limits, only, sql


def invalid(shop: Hands) -> None:
    shop.conn.execute(
        "update pg_index set indisvalid = false"
        " where indexrelid = 'pgflow.idx_step_tasks_delayed'::regclass"
    )


def hollow(shop: Hands) -> None:
    shop.conn.execute(
        "insert into pgflow.shares select 'q', n::text, 0 from generate_series(1, 3000) n"
    )
    shop.conn.execute("delete from pgflow.shares")
    shop.conn.execute("vacuum (truncate false, index_cleanup on) pgflow.shares")


MADE_BY_HAND: dict[str, tuple[Plant, str]] = {
    "missing_index": (
        sql("drop index pgflow.idx_step_tasks_ready"),
        "create index concurrently idx_step_tasks_ready on pgflow.step_tasks (queue, version_id,",
    ),
    "invalid_index": (invalid, "reindex index concurrently pgflow.idx_step_tasks_delayed;"),
    "unlogged_table": (
        sql("alter table pgflow.shares set unlogged"),
        "alter table pgflow.shares set logged;",
    ),
    "autovacuum_off": (
        sql("alter table pgflow.step_tasks set (autovacuum_enabled = false)"),
        "alter table pgflow.step_tasks reset (autovacuum_enabled);",
    ),
    "bloated_index": (hollow, "reindex index concurrently pgflow.shares_pkey;"),
}


@pytest.mark.parametrize("check", MADE_BY_HAND)
def test_a_table_or_index_that_is_not_as_it_was_made_is_found_and_mended(
    shop: Hands, dsn: str, check: str
) -> None:
    plant, remedy = MADE_BY_HAND[check]
    thresholds = limits(index_bytes=65_000)
    assert found_in(dsn, thresholds) == []
    plant(shop)
    finding = only(dsn, thresholds)
    assert finding.check == check
    assert finding.remedies[0].startswith(remedy)
    shop.conn.execute(cast(LiteralString, finding.remedies[0]))
    assert found_in(dsn, thresholds) == []


def test_what_a_migration_has_still_to_build_is_found(shop: Hands, dsn: str) -> None:
    shop.conn.execute(UNBUILD)
    finding = only(dsn)
    assert (finding.check, finding.severity, finding.remedies) == (
        "unbuilt",
        "warning",
        ("stepwell migrate",),
    )
    assert finding.facts == {"left": STEPS, "now": []}
    again(dsn, shop, finding)
    assert found_in(dsn) == []


def test_what_is_being_built_is_no_fault(shop: Hands, dsn: str, connect: Connect) -> None:
    shop.conn.execute(UNBUILD)
    writer, builder = connect(), connect()
    with writer.transaction():
        writer.execute("lock table pgflow.step_tasks in row exclusive mode")
        with ThreadPoolExecutor(1) as thread:
            [parked, *_] = re.findall(
                "create index concurrently [^;]*", (SQL / "migrations" / LEFT).read_text()
            )
            building = thread.submit(builder.execute, parked)
            try:
                while not shop.rows(BEING_BUILT):
                    assert not building.done()
                finding = only(dsn)
            finally:
                writer.execute("rollback")
    assert (finding.check, finding.severity) == ("unbuilt", "info")
    assert "; building index idx_step_tasks_parked: 0%" in finding.what


def test_a_key_that_was_dropped_comes_back_by_what_is_said(shop: Hands, dsn: str) -> None:
    shop.conn.execute("alter table pgflow.signals drop constraint signals_dedup_key")
    finding = only(dsn)
    assert finding.facts == {"index": "signals_dedup_key"}
    shop.conn.execute(cast(LiteralString, finding.remedies[0]))
    assert found_in(dsn) == []


def test_the_indexes_that_migrations_make_are_known(shop: Hands) -> None:
    rows = shop.rows(
        "select relname from pg_class where relkind = 'i' and relnamespace = 'pgflow'::regnamespace"
        " and relname not like 'stepwell%%'"
    )
    assert {name for (name,) in rows} == set(expected())


def test_dead_rows_and_grown_tables_are_found(shop: Hands, dsn: str) -> None:
    insert: LiteralString = "insert into pgflow.shares select 'q', n::text, 0"
    shop.conn.execute(insert + " from generate_series(1, 40) n")
    shop.conn.execute("delete from pgflow.shares")
    shop.conn.execute("select pg_stat_force_next_flush()")
    shop.conn.execute("select 1")
    finding = only(dsn, limits(dead_tuples=20))
    assert (finding.check, finding.facts["dead"]) == ("dead_rows", 40)
    assert finding.remedies == ("vacuum (verbose, analyze) pgflow.shares;",)
    shop.conn.execute("update pg_class set reltuples = 1e9 where oid = 'pgflow.audit'::regclass")
    assert only(dsn).check == "overgrown_table"
    shop.conn.execute("update pg_class set reltuples = 0 where oid = 'pgflow.audit'::regclass")
    shop.conn.execute("update pg_class set reltuples = 5e3 where oid = 'pgflow.runs'::regclass")
    shop.conn.execute("update pgflow.pruning set finished_at = pgflow.now() - interval '3 days'")
    pruning = only(dsn)
    assert pruning.check == "nothing_is_pruned"
    assert "no worker has looked for old runs for 3 days" in pruning.what


def test_old_runs_that_no_archive_takes_are_found(shop: Hands, dsn: str) -> None:
    shop.define(single("kept"))
    [run] = shop.start("kept")
    assert shop.cancel(run)
    shop.conn.execute("update pgflow.flows set opt_archive = true where flow_slug = 'kept'")
    shop.conn.execute(
        "update pgflow.runs set started_at = started_at - interval '40 days',"
        " cancelled_at = cancelled_at - interval '40 days' where run_id = %s",
        [run],
    )
    finding = only(dsn)
    assert (finding.check, finding.facts["flow"]) == ("nothing_is_archived", "kept")
    assert "wait for an archive, the oldest for 40 days" in finding.what
    shop.conn.execute(
        "insert into pgflow.archiving (flow_slug, finished_at) values ('kept', pgflow.now())"
    )
    assert found_in(dsn) == []


def test_runs_that_no_archive_can_have_are_found(shop: Hands, dsn: str) -> None:
    shop.define(single("kept"))
    runs = shop.start("kept", {}, {})
    for run in runs:
        assert shop.cancel(run)
        shop.conn.execute(
            "select pgflow.refuse_archive(%s, 'kept', 'it is too large', pgflow.now())", (run,)
        )
    finding = only(dsn)
    assert (finding.check, finding.facts["runs"]) == ("run_not_archived", 2)
    assert f"2 old runs of kept cannot be archived; of {runs[1]}: it is too large" in finding.what
    shop.conn.execute(cast(LiteralString, finding.remedies[0]))
    shop.conn.execute("select pgflow.delete_run(run_id) from pgflow.runs")
    assert found_in(dsn) == []


def again(dsn: str, shop: Hands, finding: Finding) -> None:
    """Do what was said: SQL, and `stepwell migrate`."""

    async def migrated() -> None:
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            await migrate(conn)

    for remedy in finding.remedies:
        if remedy == "stepwell migrate":
            asyncio.run(migrated())
        else:
            shop.conn.execute(cast(LiteralString, remedy))


def test_functions_that_were_changed_by_hand_are_found_and_mended(shop: Hands, dsn: str) -> None:
    shop.conn.execute(
        "create or replace function pgflow.is_served(queue text) returns boolean"
        " language sql stable set search_path = pg_catalog, pg_temp as 'select true'"
    )
    shop.conn.execute("drop function pgflow.list_audit(uuid, int)")
    finding = only(dsn)
    assert finding.check == "functions_changed"
    assert finding.facts["functions"] == ["pgflow.is_served", "pgflow.list_audit"]
    again(dsn, shop, finding)
    assert found_in(dsn) == []


BEING_BUILT: LiteralString = (
    "select from pg_stat_progress_create_index"
    " where datname = current_database() and index_relid > 0"
)
BEHIND: dict[str, LiteralString] = {
    "functions_differ": "update pgflow.stepwell_schema set functions = 'old', library = '0.0'",
    "schema_ahead": "insert into pgflow.stepwell_migrations values ('9999_later.sql', '', true)",
    "migration_changed": "update pgflow.stepwell_migrations set checksum = ''"
    " where name like '0001%'",
    "no_pgmq": "drop schema pgmq cascade",
}


@pytest.mark.parametrize("check", BEHIND)
def test_a_schema_that_is_not_the_one_of_this_code_is_found(
    shop: Hands, dsn: str, check: str
) -> None:
    shop.conn.execute(BEHIND[check])
    finding = only(dsn)
    assert (finding.check, finding.severity) == (check, "error")
    assert finding.remedies
    if finding.remedies == ("stepwell migrate",):
        again(dsn, shop, finding)
        assert found_in(dsn) == []


def test_no_schema_an_old_one_and_one_of_others_are_told_apart(empty_dsn: str) -> None:
    assert only(empty_dsn).check == "no_schema"
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute("create schema pgflow")
        conn.execute("create table pgflow.flows (flow_slug text)")
        assert only(empty_dsn).check == "foreign_schema"
        conn.execute("create table pgflow.stepwell_schema (library text, functions text)")
        conn.execute(
            "create table pgflow.stepwell_migrations (name text, checksum text, breaking boolean)"
        )
        finding = only(empty_dsn)
    assert finding.check == "schema_behind"
    assert "it lacks 0001_definitions.sql, " in finding.what
    assert finding.remedies == ("stepwell migrate",)
