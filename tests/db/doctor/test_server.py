"""What of a server hurts, and wake-ups that do not arrive."""

from __future__ import annotations

from typing import LiteralString, cast

import psycopg
import pytest

from tests.db.hands import Hands
from tests.db.waiting import held_up
from tests.pooler import pooled
from tests.servers import DatabaseServer

from .patient import RISKY, examined, found_in, limits, only

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
