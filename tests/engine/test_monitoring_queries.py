"""The monitoring queries that pgflow's users know run as they are, and show the article flow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from examples.article.app import Article, app, article
from stepwell import Client, Flow, Settings, Worker

RUN = """
SELECT status, output, remaining_steps
FROM pgflow.runs
WHERE run_id = 'YOUR_RUN_ID';
"""
STEPS = """
SELECT ss.step_slug, ss.status, st.output
FROM pgflow.step_states ss
LEFT JOIN pgflow.step_tasks st ON
  ss.run_id = st.run_id AND
  ss.step_slug = st.step_slug AND
  st.status = 'completed'
WHERE ss.run_id = 'YOUR_RUN_ID';
"""
RECENT = """
SELECT run_id, status, input, output, remaining_steps, started_at
FROM pgflow.runs
WHERE flow_slug = 'analyze_article'
ORDER BY started_at DESC
LIMIT 10;
"""
ACTIVE = """
SELECT run_id, step_slug, status, attempts_count,
  queued_at, started_at, last_worker_id
FROM pgflow.step_tasks
WHERE status IN ('queued', 'started')
ORDER BY queued_at ASC;
"""
TIMELINE = """
SELECT step_slug, status, started_at, completed_at, failed_at,
  EXTRACT(EPOCH FROM (COALESCE(completed_at, failed_at) - started_at)) AS duration_seconds
FROM pgflow.step_states
WHERE run_id = 'YOUR_RUN_ID'
ORDER BY created_at ASC;
"""
WORKERS = """
SELECT worker_id, last_heartbeat
FROM pgflow.workers
WHERE last_heartbeat > now() - interval '6 seconds';
"""
FAILED = """
SELECT ss.step_slug, st.attempts_count, st.error_message, st.failed_at
FROM pgflow.step_states ss
JOIN pgflow.step_tasks st ON
  ss.run_id = st.run_id AND
  ss.step_slug = st.step_slug
WHERE ss.run_id = 'YOUR_RUN_ID' AND ss.status = 'failed';
"""
TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'pgflow';
"""
START = """
SELECT * FROM pgflow.start_flow(
  flow_slug => 'greet_user',
  input => '{"first_name": "Alice", "last_name": "Smith"}'::jsonb
);
"""

greet_user = Flow("greet_user")


@greet_user.step
def full_name(flow_input: dict[str, str]) -> str:
    return f"{flow_input['first_name']} {flow_input['last_name']}"


@greet_user.step
def greeting(full_name: str) -> str:
    return f"Hello, {full_name}!"


def ask(dsn: str, query: str, run_id: UUID | None = None) -> list[dict[str, Any]]:
    text = query.replace("YOUR_RUN_ID", str(run_id)).encode()
    with psycopg.connect(dsn) as conn, conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(text).fetchall()


@asynccontextmanager
async def working(dsn: str, *flows: Flow[Any, Any]) -> AsyncGenerator[Client]:
    worker = Worker(flows, Settings(dsn=dsn, lease=12.0))  # a beat every two seconds
    serving = asyncio.create_task(worker.run())
    async with Client(dsn) as client:
        try:
            yield client
        finally:
            worker.stop()
            await serving


async def test_the_article_is_read_with_the_queries_of_pgflow(dsn: str) -> None:
    async with working(dsn, *app.flows) as client:
        run = await client.start(article, Article("https://example.org/en/rivers"))
        await run.result(timeout=15)
        assert len(ask(dsn, WORKERS)) == 1

    [found] = ask(dsn, RUN, run.id)
    assert found["status"] == "completed"
    assert found["remaining_steps"] == 0
    assert found["output"]["publish"]["vectors"] == 12

    rows = ask(dsn, STEPS, run.id)
    assert {row["status"] for row in rows} == {"completed"}
    assert sorted(row["step_slug"] for row in rows) == sorted(
        ["scrape", "summarize", "chunks", "publish", *["embed"] * 12]
    )
    assert [r["run_id"] for r in ask(dsn, RECENT)] == [run.id]
    assert ask(dsn, ACTIVE) == []
    timeline = ask(dsn, TIMELINE, run.id)
    assert all(row["duration_seconds"] > 0 for row in timeline)
    assert ask(dsn, FAILED, run.id) == []
    [attempt] = await attempts(dsn, run.id)
    assert (attempt.step, attempt.task_index, attempt.error_type) == ("embed", 2, "ConnectionError")


async def attempts(dsn: str, run_id: UUID) -> list[Any]:
    async with Client(dsn) as client:
        return list(await client.run(run_id).attempts())


async def test_a_run_started_in_sql_is_worked_off(dsn: str) -> None:
    async with working(dsn, greet_user) as client:
        async with asyncio.timeout(10):
            while not await client.list():  # the worker deploys the flow first
                with psycopg.connect(dsn) as conn:
                    known = conn.execute("select count(*) from pgflow.flows").fetchone()
                if known and known[0]:
                    [started] = ask(dsn, START)
                    assert started["status"] == "started"
                await asyncio.sleep(0.02)
        [summary] = await client.list("greet_user")
        output = await client.run(summary.id).result(timeout=10)
    assert output == {"greeting": "Hello, Alice Smith!"}


async def test_a_failed_step_is_found(dsn: str) -> None:
    broken = Flow("broken", max_attempts=1)

    @broken.step
    async def explode() -> None:
        raise RuntimeError("on purpose")

    async with working(dsn, broken) as client:
        run = await client.start(broken)
        await run.wait(timeout=10)
    [failed] = ask(dsn, FAILED, run.id)
    assert failed["step_slug"] == "explode"
    assert failed["attempts_count"] == 1
    assert failed["error_message"] == "on purpose"


@pytest.mark.parametrize(
    "table", ["flows", "steps", "deps", "runs", "step_states", "step_tasks", "workers"]
)
def test_the_tables_are_there(dsn: str, table: str) -> None:
    assert table in {row["table_name"] for row in ask(dsn, TABLES)}
