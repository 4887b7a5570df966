"""Commands for the hours beside the runs: init, bench, completion, psql, reset."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from stepwell.cli import stuck
from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from stepwell.dev.postgres import EmbeddedPostgres
from tests.engine.cli_programs import PATIENCE, Command, Program, environment, shared_home

Out = pytest.CaptureFixture[str]
pytestmark = pytest.mark.timeout(240)  # programs that start programs, on a busy machine
alone = pytest.mark.usefixtures("alone")


@alone
def test_init_makes_a_project_whose_tests_pass_and_that_runs(tmp_path: Path, capsys: Out) -> None:
    assert run(["init", "my shop"]) == 0
    captured = capsys.readouterr()
    assert "cd 'my shop' && stepwell dev app.py" in captured.err
    shop = tmp_path / "my shop"
    assert 'name = "my-shop"' in (shop / "pyproject.toml").read_text()
    assert (shop / ".gitignore").is_file()
    home = environment(shared_home())
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=shop,
        env=home,
        capture_output=True,
        text=True,
    )
    assert "2 passed" in tests.stdout, tests.stdout + tests.stderr
    dev = Program("dev", "app.py", environment=home, cwd=shop)
    try:
        dev.wait_for("serving")
        start = subprocess.run(
            [sys.executable, "-m", "stepwell", "start", "orders", "--input", '["cup"]', "--wait"],
            cwd=shop,
            env=home,
            capture_output=True,
            text=True,
        )
        assert json.loads(start.stdout) == {"label": "1 parcels: one cup"}, start.stderr
        dev.signal(signal.SIGINT)
        assert dev.end() == 0
    finally:
        dev.close()


@alone
def test_init_overwrites_nothing(tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "app.py").write_text("mine")
    assert run(["init"]) == Exit.USAGE
    assert "app.py is there already" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["app.py"]
    assert run(["init", "other", "--json"]) == 0
    assert "other/app.py" in json.loads(capsys.readouterr().out)


def test_bench_measures_beside_the_floor_and_leaves_nothing(
    alone: None, dsn: str, capsys: Out
) -> None:
    words = ["--tasks", "90", "--rounds", "1", "--concurrency", "20"]
    assert run(["bench", *words, "--dsn", dsn, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["what"]: row for row in found["rows"]}
    assert len(rows) == 6
    assert rows["floor"]["of_floor"] == 1
    assert all(row["tasks_per_second"] > 0 for row in rows.values())
    assert 0 < found["latency"]["p50"] <= found["latency"]["p95"]
    with psycopg.connect(dsn) as conn:
        left = "select count(*) from pg_database where datname like 'stepwell_bench%'"
        assert conn.execute(left).fetchone() == (0,)
        assert conn.execute("select count(*) from pgflow.runs").fetchone() == (0,)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_learns_the_commands(shell: str, capsys: Out) -> None:
    assert run(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert "check-deploy" in said
    assert "--concurrency" in said if shell != "fish" else "concurrency" in said


@alone
def test_psql_runs_what_stands_behind_the_dashes(dsn: str, tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "stepwell", "db", "psql", "--", "-Atc", "select 6 * 7"],
        env=environment(tmp_path, STEPWELL_DSN=dsn),
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout) == (0, "42\n"), told.stderr


def test_reset_asks_and_then_forgets_every_run(
    monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("STEPWELL_HOME", str(shared_home().with_name("reset")))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with EmbeddedPostgres() as embedded:
        assert run(["migrate", "--dsn", embedded.dsn()]) == 0
        with psycopg.connect(embedded.dsn(), autocommit=True) as conn:
            conn.execute("select pgflow.create_flow('gone')")
            monkeypatch.setattr(sys, "stdin", io.StringIO())
            assert run(["db", "reset"]) == Exit.USAGE
            assert "--yes" in capsys.readouterr().err
            assert run(["db", "reset", "--yes"]) == 0  # although somebody is on it
        with psycopg.connect(embedded.dsn()) as conn:
            assert conn.execute("select count(*) from pgflow.flows").fetchone() == (0,)
        assert run(["migrate", "--status", "--dsn", embedded.dsn()]) == 0


def test_ctrl_c_while_it_is_being_imported_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, os, signal\n"
        "real = builtins.__import__\n"
        "def slow(name, *more, **named):\n"
        "    if name == 'cyclopts': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *more, **named)\n"
        "builtins.__import__ = slow\n"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "stepwell", "--help"],
        env=environment(tmp_path, PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (ended.returncode, ended.stderr) == (Exit.INTERRUPTED, "")


def test_whoever_waits_is_told_that_nobody_serves_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stuck, "FIRST", 0.1)
    assert command("flows", "upsert", "alone", '{"steps": [{"slug": "one"}]}')[0] == 0
    code, _, err = command("start", "alone", "--wait", "--timeout", "2")
    assert code == Exit.FAILED
    assert "no worker" in err
    assert "stepwell runs explain" in err
