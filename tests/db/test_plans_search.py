"""A list of runs reads what its most selective filter finds, or a page, however many runs there
are: with true statistics and with those of the first day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.servers import DatabaseServer

from .explain import Scan, explained
from .hands import Connection, Hands
from .shapes import single

pytestmark = pytest.mark.timeout(240)
RUNS = 20_000
PAGE = 20
BIG = {"runs", "run_tags", "step_tasks"}
BEGAN = datetime(2020, 1, 1, tzinfo=UTC)

# a run each minute, of three flows in turn; the rare ones are old
FILL = """
insert into pgflow.runs (
  run_id, flow_slug, version_id, status, input, started_at, completed_at, failed_at, cancelled_at,
  key, parent_run_id, tags)
select md5(n::text)::uuid, (array['one', 'two', 'three'])[n %% 3 + 1],
  (select min(version_id) from pgflow.versions),
  case n %% 1000 when 7 then 'failed' when 8 then 'cancelled' else 'completed' end,
  jsonb_build_object('customer', jsonb_build_object('id', n)), at,
  case when n %% 1000 not in (7, 8) then at end, case when n %% 1000 = 7 then at end,
  case when n %% 1000 = 8 then at end,
  format(case when n < 2000 then 'schedule:nightly:%%s' else 'order:%%s' end, n),
  case when n between 5000 and 5010 then md5('parent')::uuid end,
  case when n %% 2 = 0
    then array['common'] || case when n between 3000 and 3030 then array['rare'] else '{}' end end
from generate_series(1, %(runs)s) n,
  lateral (select %(began)s::timestamptz + n * interval '1 minute') t (at)
"""


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    """Planners differ."""
    return any_server


@pytest.fixture(scope="module", params=["true", "first"])
def conn(request: pytest.FixtureRequest, server: DatabaseServer) -> Iterator[Connection]:
    with server.database(server.template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        hands = Hands(conn)
        for slug in ("one", "two", "three"):
            hands.define(single(slug))
        conn.execute("alter table pgflow.runs set (autovacuum_enabled = off)")
        conn.execute("alter table pgflow.run_tags set (autovacuum_enabled = off)")
        live = hands.start("one", 1, 2, 3)
        conn.execute(
            "update pgflow.runs set started_at = '2019-01-01' where run_id = any (%s)", (live,)
        )
        conn.execute("analyze")
        conn.execute(FILL, {"began": BEGAN, "runs": RUNS})
        if request.param == "true":
            conn.execute("vacuum analyze pgflow.runs, pgflow.run_tags, pgflow.step_tasks")
        yield conn


def read_for(conn: Connection, most: int = PAGE, **filters: Any) -> tuple[list[UUID], list[Scan]]:
    """What a search finds, and the scans of large tables that it makes."""
    found: list[UUID] = []
    said = json.dumps(filters, default=str)

    def search() -> None:
        rows = conn.execute("select run_id from pgflow.search_runs(%s::jsonb, %s)", (said, most))
        found.extend(row[0] for row in rows.fetchall())

    search()
    found.clear()
    statements = explained(conn, search)
    return found, [scan for each in statements for scan in each.scans if scan.table in BIG]


PAGES: dict[str, tuple[dict[str, Any], int]] = {
    "nothing said": ({}, PAGE),
    "a flow": ({"flow": "two"}, PAGE),
    "a kind": ({"kind": "flow"}, PAGE),
    "completed": ({"status": "completed"}, PAGE),
    "failed": ({"status": "failed"}, PAGE),
    "cancelled of a flow": ({"status": "cancelled", "flow": ["two"]}, 6),
    "failed or cancelled": ({"status": ["failed", "cancelled"]}, PAGE),
    "live": ({"status": "started"}, 3),
    "live or failed": ({"status": ["started", "failed"]}, PAGE),
    "a key": ({"key": "order:15000"}, 1),
    "keys that begin alike": ({"key_prefix": "schedule:nightly:194"}, 11),
    "a schedule, of a time": ({"schedule": "nightly", "until": BEGAN + timedelta(minutes=9)}, 8),
    "a rare tag": ({"tags": ["rare"]}, 16),
    "a common tag": ({"tags": "common"}, PAGE),
    "a tag of a time": ({"tags": "common", "until": BEGAN + timedelta(minutes=100)}, PAGE),
    "children": ({"parent": UUID("d0e45878043844ffc41aac437e86b602")}, 11),
    "a time": (
        {"since": BEGAN + timedelta(minutes=500), "until": BEGAN + timedelta(minutes=510)}, 10,
    ),
    "failed, of a time": ({"status": "failed", "until": BEGAN + timedelta(minutes=1010)}, 2),
    "a part of the input, of a time": (
        {"input": {"customer": {"id": 508}}, "since": BEGAN + timedelta(minutes=500),
        "until": BEGAN + timedelta(minutes=510)}, 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_no_more_than_it_must(conn: Connection, name: str) -> None:
    filters, length = PAGES[name]
    found, scans = read_for(conn, **filters)
    assert len(found) == length
    assert all(scan.kind != "Seq Scan" and scan.rows <= 5 * PAGE for scan in scans), scans


def test_several_tags_are_as_many_as_the_rarest(conn: Connection) -> None:
    found, scans = read_for(conn, tags=["common", "rare"])
    assert len(found) == 16
    assert sum(scan.rows for scan in scans if scan.table == "runs") <= 5 * PAGE
    assert sum(scan.rows for scan in scans if scan.table == "run_tags") <= 1000 + 5 * PAGE


def test_pages_follow_each_other_to_the_end_of_history(conn: Connection) -> None:
    last: list[UUID] = []
    seen: set[UUID] = set()
    read = 0
    while True:
        before = {"before": {"id": last[-1]}} if last else {}
        last, scans = read_for(conn, most=700, flow=["one", "three"], **before)
        read += sum(scan.rows for scan in scans)
        assert not seen & set(last)
        seen |= set(last)
        if len(last) < 700:
            break
    assert len(seen) == RUNS - RUNS // 3 + 2
    assert read <= 5 * RUNS  # each page from where the last one ended


def test_definitions_without_a_run_in_the_page_cost_two_rows_each(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute(
            "insert into pgflow.flows (flow_slug)"
            " select 'many_' || n from generate_series(1, 300) n"
        )
        conn.execute(
            "insert into pgflow.runs (run_id, flow_slug, version_id, input, started_at)"
            " select md5(format('%s %s', n, i))::uuid, 'many_' || n, 1, '1',"
            "  '2030-01-01'::timestamptz + (n * 100 + i) * interval '1 s'"
            " from generate_series(1, 300) n, generate_series(1, 25) i"
        )
        found, scans = read_for(conn)
        assert len(found) == PAGE
        assert sum(scan.rows for scan in scans if scan.table == "runs") <= 2 * 310 + PAGE * (
            PAGE + 5
        )


def test_an_index_on_inputs_is_used(conn: Connection) -> None:
    with conn.transaction(force_rollback=True):
        conn.execute("create index theirs on pgflow.runs using gin (input jsonb_path_ops)")
        found, scans = read_for(conn, input={"customer": {"id": 508}})
        assert len(found) == 1
        assert all(scan.kind != "Seq Scan" and scan.rows <= PAGE for scan in scans), scans
