"""Faults planted in a database: each is found, it alone, and what the doctor says mends it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, LiteralString, cast

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from stepwell.db.doctor.examine import Diagnosis, Finding, Thresholds, examine
from stepwell.db.doctor.tables import expected
from stepwell.db.explain import explain_run
from stepwell.db.messages import Ending, close_messages, ensure_queue, read_messages, send_messages
from stepwell.db.migrate import migrate
from stepwell.db.presence import serve_lanes
from stepwell.db.steer import pause_queue
from stepwell.settings import Settings
from tests.pooler import pooled
from tests.servers import DatabaseServer

from .hands import Hands
from .kinds import job
from .shapes import chain, single
from .waiting import held_up

Plant = Callable[[Hands], object]

# the servers of the tests are fast, and would not survive a crash
RISKY = ["fsync", "full_page_writes", "synchronous_commit"]
BASE = {f"{name}_off" for name in RISKY}


def limits(**said: Any) -> Thresholds:
    """Patience for slow machines."""
    patient: dict[str, Any] = {"patience": 60.0, "heard": 30.0}
    return Thresholds(**patient | said)


def examined(dsn: str, thresholds: Thresholds | None = None, **settings: Any) -> Diagnosis:
    wanted: dict[str, Any] = {"dsn": dsn, "wake": "poll"} | settings
    return asyncio.run(examine(Settings(**wanted), thresholds or limits()))


def found_in(dsn: str, thresholds: Thresholds | None = None, **settings: Any) -> list[Finding]:
    """Apart from what the server of the tests is known for."""
    diagnosis = examined(dsn, thresholds, **settings)
    assert diagnosis.unchecked == ()
    return [each for each in diagnosis.findings if each.check not in BASE]


def only(dsn: str, thresholds: Thresholds | None = None, **settings: Any) -> Finding:
    [finding] = found_in(dsn, thresholds, **settings)
    return finding


@pytest.fixture
def shop(dsn: str) -> Iterator[Hands]:
    """A database that is well: a worker serves a flow. Not `hands`: its rules will be broken."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        hands.define(single("orders"))
        hands.register(lease=3600)
        tell(hands)
        yield hands


def tell(hands: Hands, clock: datetime | None = None) -> None:
    queues, versions = [q for q, _ in hands.lanes], [v for _, v in hands.lanes]
    call = serve_lanes(hands.id, queues, queues, versions, 10, clock or datetime.now(UTC))
    call.on_sync(hands.conn)


def sql(*statements: LiteralString) -> Plant:
    def plant(shop: Hands) -> None:
        for statement in statements:
            shop.conn.execute(statement)

    return plant


@pytest.mark.parametrize("wake", ["notify", "poll"])
def test_a_database_that_is_well_has_no_findings(any_server: DatabaseServer, wake: str) -> None:
    with any_server.database(any_server.template) as dsn, psycopg.connect(dsn) as conn:
        assert [each.check for each in found_in(dsn, wake=wake)] == ["nobody_works"]
        hands = Hands(conn)
        hands.register(lease=3600)
        conn.commit()
        assert found_in(dsn, wake=wake) == []


# --- work that stands still ---


def unserved(shop: Hands) -> None:
    shop.define(single("mails"))
    shop.begin("mails")


def without_code(shop: Hands) -> None:
    shop.begin("orders")
    shop.lanes.clear()
    shop.define(chain("orders", 2))
    tell(shop)


def paused_for_long(shop: Hands) -> None:
    shop.begin("orders")
    pause_queue("orders", "ann").on_sync(shop.conn)
    long_ready(shop)


def waiting_for_long(shop: Hands) -> None:
    shop.begin("orders")
    long_ready(shop)


def long_ready(shop: Hands) -> None:
    shop.conn.execute("update pgflow.step_tasks set ready_at = pgflow.now() - interval '20 min'")


def overslept(shop: Hands) -> None:
    shop.begin("orders", delay=60)
    long_ready(shop)


def lost(shop: Hands) -> None:
    shop.begin("orders")
    shop.claim()
    shop.conn.execute(
        "update pgflow.step_tasks set queued_at = queued_at - interval '1 hour',"
        " started_at = started_at - interval '1 hour'"
    )


def crashing(shop: Hands) -> None:
    shop.begin("orders")
    shop.claim()
    shop.conn.execute("update pgflow.step_tasks set requeued_count = 2")


def slot_of_the_dead(shop: Hands) -> None:
    shop.define(job("mail"))
    tell(shop)
    for _ in range(2):
        shop.begin("mail", concurrency="key/acct:7")
    dead = Hands(shop.conn, lanes=list(shop.lanes))
    dead.register(lease=3600)
    [task] = dead.claim(1)
    assert shop.claim() == []
    dead.complete([task])
    shop.conn.execute(
        "insert into pgflow.slots (gate, slot, message_id, claim_token, worker_id)"
        " values ('key/acct:7', 1, %s, %s, %s)",
        (task.message_id, task.claim_token, dead.id),
    )
    shop.conn.execute(
        "update pgflow.step_tasks set stage = 'blocked', blocked_on = 'key/acct:7'"
        " where stage = 'ready'"
    )
    shop.conn.execute(
        "update pgflow.workers set stopped_at = pgflow.now() - interval '1 hour'"
        " where worker_id = %s",
        (dead.id,),
    )


def nobody_woke_it(shop: Hands) -> None:
    shop.begin("orders")
    shop.conn.execute(
        "update pgflow.step_tasks set stage = 'blocked', blocked_on = 'key/x',"
        " ready_at = pgflow.now() - interval '20 min'"
    )


def missed_slot(shop: Hands) -> None:
    scheduled(shop, "pgflow.now() - interval '10 min'", None)


def failing_slot(shop: Hands) -> None:
    scheduled(shop, "pgflow.now() + interval '10 min'", "its input does not fit")


def scheduled(shop: Hands, at: LiteralString, error: str | None) -> None:
    insert: LiteralString = (
        "insert into pgflow.schedules (name, flow_slug, spec, error_message, next_at)"
        " values ('nightly', 'orders', '{\"every\": 3600}', %s, "
    )
    shop.conn.execute(insert + at + ")", (error,))


def undeliverable(shop: Hands) -> None:
    ensure_queue("images").on_sync(shop.conn)
    send_messages("images", ["1"]).on_sync(shop.conn)
    [read] = read_messages("images", 30, 1).on_sync(shop.conn)
    ending = Ending(read.msg_id, read.read_ct, "dead", error_type="E", error_message="no")
    close_messages("images", [ending]).on_sync(shop.conn)


def unread(shop: Hands) -> None:
    ensure_queue("images").on_sync(shop.conn)
    send_messages("images", ["1"]).on_sync(shop.conn)
    shop.conn.execute("update pgmq.q_images set vt = now() - interval '1 hour'")


WORK: dict[str, tuple[Plant, str, str]] = {
    "queue_not_served": (unserved, "no worker serves queue mails", "stepwell worker"),
    "no_code": (without_code, "no worker has the code of version 1 of orders", "check-deploy"),
    "paused": (paused_for_long, "the queue orders is paused", "stepwell queues resume orders"),
    "queue_is_behind": (waiting_for_long, "1 task of orders, version 1, in", "--concurrency"),
    "late_timers": (overslept, "1 task had their time and were not woken", "stepwell worker"),
    "lost_tasks": (lost, "1 task of orders: in the hands", "stepwell worker"),
    "deadly_task": (crashing, "step s0 of orders lost 2 workers in a row", "runs pause"),
    "stuck_limit": (slot_of_the_dead, "1 of whose 1 slots belong", "stepwell worker"),
    "nothing_is_open": (
        lambda shop: (shop.begin("orders"), shop.conn.execute("delete from pgflow.step_tasks")),
        "1 live run without an open task",
        "stepwell runs cancel",
    ),
    "late_schedule": (missed_slot, "schedule nightly of orders was due 10 min ago", "trigger"),
    "schedule_fails": (failing_slot, "its input does not fit", "schedules show nightly"),
    "dead_letters": (undeliverable, "queue images has 1 dead letter", "queues dead images"),
    "messages_wait": (unread, "no worker of ours reads it", "--queues images"),
    "silent_worker": (
        sql("update pgflow.workers set last_heartbeat_at = pgflow.now() - interval '90 min'"),
        "worker hands on here (pid 1) was not heard of for 90 min",
        "stepwell worker",
    ),
    "clock_skew": (
        sql("update pgflow.workers set clock_ahead = -90"),
        "the clock of worker hands on here is 90 s behind the database's",
        "timedatectl",
    ),
}


@pytest.mark.parametrize("check", WORK)
def test_work_that_stands_still_is_found(shop: Hands, dsn: str, check: str) -> None:
    plant, what, remedy = WORK[check]
    plant(shop)
    found = [each for each in found_in(dsn) if each.check != "nobody_works"]
    assert [each.check for each in found] == [check]
    assert what in found[0].what
    assert found[0].why
    assert any(remedy in each for each in found[0].remedies)


def test_a_gate_that_nobody_opened_is_found(shop: Hands, dsn: str) -> None:
    nobody_woke_it(shop)
    finding = only(dsn)
    assert finding.check == "stuck_limit"
    assert "concurrency key x, which has room: 0 of 1 slots are taken" in finding.what


def test_a_foreign_worker_that_went_without_a_word_is_no_fault(shop: Hands, dsn: str) -> None:
    shop.conn.execute(
        "insert into pgflow.workers (worker_id, queue_name, function_name, last_heartbeat_at)"
        " values (gen_random_uuid(), 'orders', 'edge', pgflow.now() - interval '1 day')"
    )
    assert found_in(dsn) == []


def test_nobody_at_all_is_worse_with_work_than_without(shop: Hands, dsn: str) -> None:
    shop.leave()
    diagnosis = examined(dsn)
    assert "nobody_works" in [e.check for e in diagnosis.findings if e.severity == "info"]
    shop.begin("orders")
    assert {each.check: each.severity for each in found_in(dsn)} == {
        "no_worker": "error",
        "nobody_works": "info",
    }


# --- tables, indexes, functions ---


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


# --- the server, and who else is there ---

SERVER: dict[str, tuple[LiteralString, str]] = {
    "timeout_too_short": ("statement_timeout = '5s'", "statement_timeout is 5 s for this role"),
    "read_only": ("default_transaction_read_only = on", "sessions of this role are read-only"),
}


@pytest.mark.parametrize("check", SERVER)
def test_settings_that_hurt_are_found(shop: Hands, dsn: str, check: str) -> None:
    setting, what = SERVER[check]
    name = shop.conn.info.dbname
    alter = f'alter database "{name}" set {setting}'
    shop.conn.execute(cast(LiteralString, alter))
    finding = only(dsn)
    assert (finding.check, finding.what) == (check, what)


def test_a_server_that_would_not_survive_a_crash_is_found(shop: Hands, dsn: str) -> None:
    off = shop.rows("select name from pg_settings where name = any (%s) and setting = 'off'", RISKY)
    found = {each.check for each in examined(dsn).findings}
    assert found == {f"{name}_off" for (name,) in off}


def test_an_old_transaction_is_named_with_how_to_end_it(shop: Hands, dsn: str) -> None:
    with psycopg.connect(dsn, application_name="report") as other:
        other.execute("select 1")
        finding = only(dsn, limits(old_transaction=0))
        assert finding.check == "old_transaction"
        assert f"report (role {other.info.user}, pid {other.info.backend_pid})" in finding.what
        assert "idle in transaction" in finding.what
        shop.conn.execute(cast(LiteralString, finding.remedies[1]))
        with pytest.raises(psycopg.OperationalError):
            other.execute("select 1")
    assert found_in(dsn) == []


def test_who_waits_for_a_lock_is_named_with_who_has_it(shop: Hands, dsn: str) -> None:
    run = shop.begin("orders")
    with psycopg.connect(dsn) as blocker, psycopg.connect(dsn, autocommit=True) as waiter:
        update: LiteralString = "update pgflow.runs set priority = 1 where run_id = %s"
        blocker.execute(update, (run,))
        waiting = held_up(lambda: waiter.execute(update, (run,)), waiter, blocker)
        finding = only(dsn, limits(lock_wait=0))
        assert finding.check == "lock_wait"
        assert f"waits for a lock of pid {blocker.info.backend_pid}" in finding.what
        blocker.rollback()
        waiting.result(30)


def test_a_prepared_transaction_that_nobody_ends_is_found(shop: Hands, dsn: str) -> None:
    if shop.value("show max_prepared_transactions") == "0":
        pytest.skip("this server prepares no transactions")
    with psycopg.connect(dsn) as other:
        other.execute("select 1")
        other.execute("update pgflow.pruning set finished_at = finished_at")
        prepare = f"prepare transaction 'it''s {other.info.dbname}'"
        other.execute(cast(LiteralString, prepare))
    finding = only(dsn, limits(old_transaction=0))
    assert finding.check == "prepared_transaction"
    shop.conn.execute(cast(LiteralString, finding.remedies[0]))
    assert found_in(dsn, limits(old_transaction=0)) == []


def test_a_slot_that_nobody_reads_is_found(shop: Hands, dsn: str) -> None:
    slot = f"doctor_{shop.conn.info.dbname}"
    shop.conn.execute("select pg_create_physical_replication_slot(%s, true)", (slot,))
    try:
        found = found_in(dsn, limits(slot_bytes=0))
        assert {each.check for each in found} == {"replication_slot"}
        [finding] = [each for each in found if slot in each.what]
        assert (finding.severity, slot in finding.remedies[0]) == ("error", True)
    finally:
        shop.conn.execute("select pg_drop_replication_slot(%s)", (slot,))


def test_what_comes_near_its_bound_is_found(shop: Hands, dsn: str) -> None:
    thresholds = limits(connections=0, frozen_age=0, notify_queue=0)
    found = {each.check for each in found_in(dsn, thresholds)}
    assert found == {"connections", "wraparound", "notify_queue"}


# --- hearing of work ---


def test_wakes_that_do_not_arrive_are_found(shop: Hands, dsn: str, server: DatabaseServer) -> None:
    assert found_in(dsn, wake="notify") == []
    elsewhere = only(dsn, limits(heard=0.5), wake="notify", listen_dsn=server.maintenance)
    assert elsewhere.check == "listen_elsewhere"
    nowhere = only(dsn, wake="notify", listen_dsn="postgresql://x:secret@127.0.0.1:1/x")
    assert nowhere.check == "listen_fails"
    assert "secret" not in str(nowhere)


def test_a_pooler_in_the_way_is_found(shop: Hands, dsn: str, server: DatabaseServer) -> None:
    with pooled(server.maintenance) as pooler:
        address = pooler.dsn(dsn)
        finding = only(address, limits(heard=0.5), wake="notify")
        assert finding.check == "pooler_without_listen_dsn"
        assert "STEPWELL_LISTEN_DSN" in finding.remedies[0]
        assert found_in(address, wake="notify", listen_dsn=dsn) == []
        assert found_in(address, wake="poll") == []


# --- rights, and time ---


@pytest.fixture
def role(shop: Hands) -> Iterator[str]:
    """A role with no rights but to be here."""
    name = f"doctor_{shop.conn.info.dbname}"
    shop.conn.execute(cast(LiteralString, f'create role "{name}"'))
    yield name
    shop.conn.execute(cast(LiteralString, f'drop owned by "{name}"; drop role "{name}"'))


def test_missing_rights_are_named_and_the_rest_is_looked_at(
    shop: Hands, dsn: str, role: str
) -> None:
    stranger = make_conninfo(dsn, options=f"-c role={role}")
    _, sight = found_in(stranger)
    assert (sight.check, sight.severity) == ("limited_sight", "info")
    shop.conn.execute(cast(LiteralString, sight.remedies[0]))
    finding = only(stranger)
    assert (finding.check, finding.severity) == ("rights", "error")
    for remedy in finding.remedies[:3]:
        shop.conn.execute(cast(LiteralString, remedy))
    finding = only(stranger)
    assert "execute on function" in finding.what
    shop.conn.execute(cast(LiteralString, finding.remedies[3]))
    assert found_in(stranger) == []


def test_a_role_that_may_only_read_sees_what_stands_still(shop: Hands, dsn: str, role: str) -> None:
    grants = f'grant usage on schema pgflow to "{role}";'
    grants += f'grant select on all tables in schema pgflow to "{role}"'
    shop.conn.execute(cast(LiteralString, grants))
    shop.define(single("mails"))
    run = shop.begin("mails")
    reader = make_conninfo(dsn, options=f"-c role={role}")
    with psycopg.connect(reader, autocommit=True) as conn:
        [reason] = explain_run(run).on_sync(conn)
    assert reason.reason == "queue_not_served"
    diagnosis = examined(reader)
    found = {each.check: each.severity for each in diagnosis.findings if each.check not in BASE}
    assert found["reader"] == "info"
    assert found["queue_not_served"] == "error"
    assert diagnosis.unchecked == ()


def test_what_takes_too_long_is_left_out_and_the_rest_is_looked_at(shop: Hands, dsn: str) -> None:
    unserved(shop)
    with psycopg.connect(dsn) as other:
        other.execute("lock table pgflow.schedules")
        diagnosis = examined(dsn, limits(patience=1.5))
    [unchecked] = diagnosis.unchecked
    assert unchecked.startswith("schedules: canceling statement due to ")
    assert "queue_not_served" in {each.check for each in diagnosis.findings}


def test_nothing_is_changed_by_looking(shop: Hands, dsn: str) -> None:
    slot_of_the_dead(shop)
    tables: LiteralString = (
        "select relname, n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables order by 1"
    )
    shop.conn.execute("select pg_stat_force_next_flush()")
    before = shop.rows(tables)
    examined(dsn, wake="notify")
    assert shop.rows(tables) == before


def test_a_diagnosis_is_data(shop: Hands, dsn: str) -> None:
    unserved(shop)
    diagnosis = examined(dsn)
    assert not diagnosis.healthy
    assert diagnosis.checks > 20
    facts = diagnosis.findings[0].facts
    assert json.loads(json.dumps(facts)) == facts
