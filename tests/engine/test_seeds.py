"""Every SQL statement of the documents that pgflow's users know runs as it is written there, and
shows what the documents say. Commands for edge functions aside."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from stepwell import Client, Flow, Run
from stepwell.compile.flows import compile_flow
from stepwell.db.script import script_of

from .workshop import Workshop

FOLDER = Path(__file__).parents[1] / "fixtures" / "seeds"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.timeout(90)
PATIENCE = 40.0
SLUGS = SQL("select distinct flow_slug from {}")

greet_user = Flow("greet_user", max_attempts=3, base_delay=5, timeout=60)


@greet_user.step
def full_name(flow_input: dict[str, str]) -> str:
    return f"{flow_input['first_name']} {flow_input['last_name']}"


@greet_user.step
def greeting(full_name: str) -> str:
    return f"Hello, {full_name}!"


your_flow = Flow("your_flow_slug", max_attempts=1)


@your_flow.step
def step1(flow_input: str) -> str:
    if flow_input == "bad":
        raise ValueError("step1 did not like it")
    return flow_input


@your_flow.step(start_delay=3600)
def step2(step1: str) -> str:
    return step1


class Seeds:
    """The documents, and which of their statements were run."""

    def __init__(self) -> None:
        blocks = [block for path in sorted(FOLDER.glob("*.txt")) for block in read(path)]
        self.statements = [text for kind, text in blocks if kind == "sql"]
        self.statements += [
            line
            for kind, text in blocks
            if kind == "bash"
            for line in text.splitlines()
            if line.lower().startswith("select ")
        ]
        self.outputs = [json.loads(text) for kind, text in blocks if kind == "json"]
        self.ran: set[str] = set()

    def find(self, words: str) -> str:
        """The one statement that has these words."""
        [found] = [text for text in self.statements if words in text]
        self.ran.add(found)
        return found


def read(path: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(path.read_text())


@pytest.fixture(scope="module")
def seeds() -> Seeds:
    return Seeds()


def ask(dsn: str, statement: str, run: Run[Any] | UUID | None = None) -> list[dict[str, Any]]:
    """As written; only the run's id goes where they wrote YOUR_RUN_ID."""
    run_id = str(run.id if isinstance(run, Run) else run)
    text = statement.replace("YOUR_RUN_ID", run_id)
    with psycopg.connect(dsn, autocommit=True) as conn, conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(text.encode()).fetchall()


@asynccontextmanager
async def prepared(workshop: Workshop) -> AsyncGenerator[Client]:
    """The flows are compiled to SQL and applied, as the document has it; then a worker starts."""
    with psycopg.connect(workshop.dsn, autocommit=True) as conn:
        for flow in (greet_user, your_flow):
            conn.execute(script_of(compile_flow(flow).to_data()).encode())
    async with workshop.worker(greet_user, your_flow):
        yield workshop.client


async def test_the_hello_world_example(workshop: Workshop, seeds: Seeds) -> None:
    dsn = workshop.dsn
    async with prepared(workshop) as client:
        [started] = ask(dsn, seeds.find("pgflow.start_flow("))
        assert (started["flow_slug"], started["status"]) == ("greet_user", "started")
        assert started["input"] == {"first_name": "Alice", "last_name": "Smith"}
        run = client.run(started["run_id"])
        await run.wait(timeout=PATIENCE)

        [found] = ask(dsn, seeds.find("SELECT status, output, remaining_steps"), run)
        [expected] = seeds.outputs
        assert found == {"status": "completed", "output": expected, "remaining_steps": 0}

        steps = ask(dsn, seeds.find("SELECT ss.step_slug, ss.status, st.output"), run)
        assert sorted(row["step_slug"] for row in steps) == ["full_name", "greeting"]
        assert {row["status"] for row in steps} == {"completed"}
        outputs = {row["step_slug"]: row["output"] for row in steps}
        assert outputs == {"full_name": "Alice Smith", "greeting": "Hello, Alice Smith!"}

        timeline = ask(dsn, seeds.find("AS duration_seconds"), run)
        assert [row["step_slug"] for row in timeline] == ["full_name", "greeting"]
        for row in timeline:
            assert row["started_at"] <= row["completed_at"]
            assert (row["failed_at"], row["duration_seconds"] >= 0) == (None, True)


async def test_the_monitoring_queries(workshop: Workshop, seeds: Seeds) -> None:
    dsn = workshop.dsn
    async with prepared(workshop) as client:
        workers = seeds.find("FROM pgflow.workers")
        async with asyncio.timeout(PATIENCE):  # a machine under load may be late with a heartbeat
            while not (found := ask(dsn, workers)):
                await asyncio.sleep(0.05)
        [worker] = found
        assert worker.keys() == {"worker_id", "last_heartbeat"}

        failed = await client.start(your_flow, "bad")
        await failed.wait(timeout=PATIENCE)
        waits = await client.start(your_flow, "good")
        await workshop.until(
            "select 1 from pgflow.step_tasks where step_slug = 'step2' and stage = 'delayed'"
        )

        recent = ask(dsn, seeds.find("ORDER BY started_at DESC"))
        assert [row["run_id"] for row in recent] == [waits.id, failed.id]
        assert [row["status"] for row in recent] == ["started", "failed"]
        assert [row["remaining_steps"] for row in recent] == [1, 2]
        assert [row["input"] for row in recent] == ["good", "bad"]

        [active] = ask(dsn, seeds.find("WHERE status IN ('queued', 'started')"))
        assert (active["run_id"], active["step_slug"]) == (waits.id, "step2")
        assert (active["status"], active["attempts_count"]) == ("queued", 0)
        assert active["started_at"] is active["last_worker_id"] is None

        [step] = ask(dsn, seeds.find("ss.status = 'failed'"), failed)
        assert (step["step_slug"], step["attempts_count"]) == ("step1", 1)
        assert step["error_message"] == "step1 did not like it"
        assert step["failed_at"] is not None


async def test_a_flow_is_deleted_with_its_data(workshop: Workshop, seeds: Seeds) -> None:
    dsn = workshop.dsn
    with psycopg.connect(dsn, autocommit=True) as conn:
        for flow in (greet_user, your_flow):
            conn.execute(script_of(compile_flow(flow).to_data()).encode())
        conn.execute("select pgflow.start_flow('your_flow_slug', '\"good\"')")
        conn.execute("select pgflow.start_flow('greet_user', '{}')")
    ask(dsn, seeds.find("pgflow.delete_flow_and_data("))
    for table in ("flows", "versions", "steps", "deps", "runs", "step_tasks"):
        with psycopg.connect(dsn) as conn:
            rows = conn.execute(SLUGS.format(Identifier("pgflow", table))).fetchall()
        assert rows == [("greet_user",)], table
    with psycopg.connect(dsn, autocommit=True) as conn:  # and made anew
        conn.execute(script_of(compile_flow(your_flow).to_data()).encode())
        conn.execute("select pgflow.start_flow('your_flow_slug', '\"good\"')")


def test_the_tables_are_those_that_they_expect(dsn: str, seeds: Seeds) -> None:
    statement = seeds.find("information_schema.tables")
    expected = statement.partition("-- Expected: ")[2].strip().split(", ")
    assert len(expected) == 7
    assert set(expected) <= {row["table_name"] for row in ask(dsn, statement)}


def test_no_statement_was_left_out(seeds: Seeds) -> None:
    """After all others of this file."""
    assert len(seeds.statements) == 10
    ours = Path(__file__).read_text()
    words = re.findall(r"seeds\.find\((\"[^\n]*\")\)", ours)
    for quoted in words:
        seeds.find(json.loads(quoted))
    assert set(seeds.statements) == seeds.ran
