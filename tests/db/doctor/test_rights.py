"""What a role may not see, and what takes too long."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import LiteralString, cast

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from stepwell.db.explain import explain_run
from tests.db.hands import Hands
from tests.db.shapes import single

from .patient import BASE, examined, found_in, limits, only, slot_of_the_dead, unserved


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
