"""`stepwell dev` as a person uses it: edit a file, see the new code run, stop with Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stepwell.dev.postgres import EmbeddedPostgres
from tests.engine.cli_programs import PATIENCE, Program, environment, shared_home

pytestmark = pytest.mark.timeout(180)

PROGRAM = """
from stepwell import Flow
{slug} = Flow("{slug}", base_delay=0)

@{slug}.step
async def answer(flow_input: int) -> str:
    return f"{word} {{flow_input}}"
"""

Write = Callable[[str], None]


@pytest.fixture
def slug() -> str:
    """The database is shared; the flow is the test's own."""
    return f"dev_{os.getpid()}_{time.monotonic_ns()}"


@pytest.fixture
def write(tmp_path: Path, slug: str) -> Write:
    path = tmp_path / "app.py"
    return lambda word: void(path.write_text(PROGRAM.format(slug=slug, word=word)))


@pytest.fixture
def dev(tmp_path: Path, write: Write) -> Generator[Program]:
    write("first")
    program = Program("dev", "app.py", environment=environment(shared_home()), cwd=tmp_path)
    yield program
    if program.process.poll() is None:
        program.signal(signal.SIGTERM)
        program.end()
    program.close()


def void(_: object) -> None:
    return None


def stepwell(*words: str) -> Any:
    """Another terminal: it finds the server that `dev` brought up."""
    done = subprocess.run(
        [sys.executable, "-m", "stepwell", *words, "--json"],
        env=environment(shared_home()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_saving_a_file_runs_the_new_code_and_keeps_the_runs(
    dev: Program, write: Write, slug: str, tmp_path: Path
) -> None:
    dev.wait_for(f"serving {slug}")
    first = stepwell("start", slug, "--input", "1", "--wait")
    assert first["output"] == {"answer": "first 1"}
    assert "✓ answer" in dev.wait_for("answer")

    write("second")
    dev.wait_for("app.py changed")
    dev.wait_for(f"serving {slug}", times=2)
    second = stepwell("start", slug, "--input", "2", "--wait")
    assert second["output"] == {"answer": "second 2"}
    runs = stepwell("runs", "list", "--flow", slug)
    assert [run["id"] for run in runs] == [second["id"], first["id"]]

    (tmp_path / "app.py").write_text("def broken(:\n")
    dev.wait_for("SyntaxError")
    dev.wait_for("waiting for a change")
    write("third")
    dev.wait_for(f"serving {slug}", times=3)

    dev.signal(signal.SIGINT)
    assert dev.end() == 0
    assert "the runs are kept" in dev.lines[-1]
    assert "Traceback" not in "".join(dev.lines)


def test_a_step_that_is_gone_while_a_run_needs_it_is_told(
    dev: Program, write: Write, slug: str, tmp_path: Path
) -> None:
    dev.wait_for(f"serving {slug}")
    with (tmp_path / "app.py").open("a") as program:
        program.write(f"\n@{slug}.step(start_delay=3600)\nasync def later(flow_input: int): ...\n")
    dev.wait_for(f"serving {slug}", times=2)
    run_id = stepwell("start", slug, "--input", "1")["id"]
    write("second")
    said = dev.wait_for("cannot end on this code")
    assert f"1 live run of {slug}, version 2, " in said
    assert "step 'later' is gone; bring it back, or cancel them" in said
    stepwell("runs", "cancel", run_id)


def test_a_closed_terminal_stops_it_as_ctrl_c_does(dev: Program, slug: str) -> None:
    dev.wait_for(f"serving {slug}")
    dev.signal(signal.SIGHUP)
    assert dev.end() == 0


def test_a_killed_dev_takes_its_worker_along(dev: Program, slug: str) -> None:
    dev.wait_for(f"serving {slug}")
    with EmbeddedPostgres(shared_home()) as postgres:  # it shall not stop with dev
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            dev.process.kill()
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                stopped = connection.execute(
                    "select stopped_at is not null from pgflow.workers where queue_name = %s",
                    [slug],
                ).fetchone()
                if stopped == (True,):
                    return
                time.sleep(0.05)
    raise AssertionError("its worker goes on")
