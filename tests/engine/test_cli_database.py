"""Which database a command works on, what `migrate` says, and who is refused."""

import json
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from stepwell.cli.main import run
from tests.dev.conftest import new_home as new_home
from tests.engine.cli_programs import Program, environment, working, write_program
from tests.unbuilt import LEFT, STEPS, UNBUILD

pytestmark = [pytest.mark.usefixtures("alone"), pytest.mark.timeout(180)]
Out = pytest.CaptureFixture[str]
PROGRAM = 'from stepwell import Flow\nflow = Flow("f")\n@flow.step\ndef one() -> int: return 1\n'
NOWHERE = "host=/nowhere user=nobody"


def test_migrate_says_what_it_applied_and_then_that_it_is_up_to_date(
    empty_dsn: str, capsys: Out
) -> None:
    assert run(["migrate", "--dsn", empty_dsn]) == 0
    assert "applied 0001_definitions.sql\n" in capsys.readouterr().out
    assert run(["migrate", "--dsn", empty_dsn]) == 0
    assert capsys.readouterr().out == "up to date\n"
    assert run(["migrate", "--dsn", empty_dsn, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"applied": [], "functions_replaced": False}


@pytest.mark.parametrize("dsn", ["", " "])
def test_an_empty_dsn_does_not_mean_another_database(
    dsn: str, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    assert run(["runs", "list", "--dsn", dsn]) == Exit.USAGE
    assert "--dsn is empty" in capsys.readouterr().err


def test_status_only_looks(empty_dsn: str, capsys: Out) -> None:
    for _ in range(2):
        assert run(["migrate", "--status", "--dsn", empty_dsn]) == Exit.SCHEMA
        assert "missing 0001_definitions.sql" in capsys.readouterr().out
    run(["migrate", "--dsn", empty_dsn])
    capsys.readouterr()
    assert run(["migrate", "--status", "--dsn", empty_dsn, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["up_to_date"], found["missing"]) == (True, [])


def test_old_functions_are_behind_too(dsn: str, capsys: Out) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("update pgflow.stepwell_schema set functions = 'old', library = '0.0'")
    assert run(["migrate", "--status", "--dsn", dsn]) == Exit.SCHEMA
    assert "functions are those of 0.0" in capsys.readouterr().out
    assert run(["migrate", "--dsn", dsn]) == 0
    assert "functions of" in capsys.readouterr().out


def test_what_is_to_be_built_beside_the_work_is_said_and_may_wait(dsn: str, capsys: Out) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(UNBUILD)
    assert run(["migrate", "--status", "--dsn", dsn]) == Exit.SCHEMA
    said = capsys.readouterr().out
    assert f"missing {LEFT}\n" in said
    assert "to do beside the work of others: index idx_runs_failed\n" in said
    assert "of this version need not wait for it\n" in said
    assert run(["migrate", "--status", "--dsn", dsn, "--json"]) == Exit.SCHEMA
    found = json.loads(capsys.readouterr().out)
    assert (found["missing"], found["to_build"], found["building"]) == ([LEFT], STEPS, [])
    assert run(["runs", "list", "--dsn", dsn]) == 0
    capsys.readouterr()
    assert run(["migrate", "--skip-builds", "--dsn", dsn]) == 0
    assert "left to build: index idx_step_tasks_parked, " in capsys.readouterr().err
    assert run(["migrate", "--dsn", dsn]) == 0
    done = capsys.readouterr()
    assert done.out == f"applied {LEFT}\n"
    assert "index idx_runs_failed: begun\n" in done.err
    assert run(["migrate", "--status", "--dsn", dsn]) == 0


def test_without_a_schema_commands_exit_with_4_and_name_the_remedy(
    empty_dsn: str, tmp_path: Path, capsys: Out
) -> None:
    program = write_program(tmp_path, PROGRAM)
    for command in (["runs", "list"], ["start", "f"], ["worker", program]):
        assert run([*command, "--dsn", empty_dsn]) == Exit.SCHEMA, command
        assert "stepwell migrate" in capsys.readouterr().err


def test_a_schema_of_somebody_else_is_named_by_every_command(
    empty_dsn: str, tmp_path: Path, capsys: Out
) -> None:
    with psycopg.connect(empty_dsn) as connection:
        connection.execute("create schema pgflow; create table pgflow.flows (flow_slug text)")
    program = write_program(tmp_path, PROGRAM)
    for command in (["migrate"], ["runs", "list"], ["start", "f"], ["worker", program]):
        assert run([*command, "--dsn", empty_dsn]) == Exit.SCHEMA, command
        said = capsys.readouterr().err
        assert "that Stepwell did not make" in said, command
        assert "alter schema pgflow rename to" in said


def test_a_role_without_rights_is_told_which_it_needs(
    dsn: str, tmp_path: Path, capsys: Out
) -> None:
    stranger = make_conninfo(dsn, options="-c role=pg_monitor")
    program = write_program(tmp_path, PROGRAM)
    commands = (["runs", "list"], ["start", "f"], ["worker", program], ["migrate"])
    for command in commands:
        assert run([*command, "--dsn", stranger]) == Exit.FAILED, command
        _, said, rest = capsys.readouterr().err.partition("error: ")  # a worker may log before
        first, second, *_ = (said + rest).splitlines()
        assert first.startswith("error: permission denied for schema pgflow"), command
        assert "usage on schema pgflow" in second
        assert "run as the owner" in second
    with psycopg.connect(dsn) as connection:
        connection.execute("grant usage on schema pgflow to pg_monitor")
    assert run(["start", "f", "--dsn", stranger]) == Exit.FAILED
    assert "permission denied for function" in capsys.readouterr().err
    with psycopg.connect(dsn) as connection:  # what it says is enough
        connection.execute(
            "grant execute on all functions in schema pgflow to pg_monitor;"
            "grant select, insert, update, delete on all tables in schema pgflow to pg_monitor;"
            "grant usage on all sequences in schema pgflow to pg_monitor"
        )
    with working(load_app(program), stranger):
        assert run(["start", f"{program}:flow", "--wait", "--dsn", stranger]) == 0
    assert run(["runs", "list", "--dsn", stranger]) == 0


def test_what_else_postgres_refuses_is_told_without_a_traceback(dsn: str, capsys: Out) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "create or replace function pgflow.run_steps(run_id uuid)"
            " returns table (step_slug text, step_type text, status text, dependencies text[],"
            " initial_tasks int, completed_tasks int, running_tasks int, failed_attempts int,"
            " lost_workers int, skip_reason text, error_message text, output jsonb,"
            " started_at timestamptz, ended_at timestamptz, next_at timestamptz, awaits text[],"
            " blocked_on text)"
            " language plpgsql as $$ begin raise division_by_zero; end $$"
        )
        connection.execute("select pgflow.create_flow('f'), pgflow.add_step('f', 's')")
        connection.execute("select pgflow.start_flow('f', '1')")
    run(["runs", "list", "--json", "--dsn", dsn])
    [started] = json.loads(capsys.readouterr().out)
    assert run(["runs", "show", started["id"], "--dsn", dsn]) == Exit.FAILED
    said = capsys.readouterr().err
    assert said.startswith("error: division_by_zero\n")
    assert "SQLSTATE 22012" in said
    assert len(said.splitlines()) == 2


def test_a_worker_refuses_a_newer_schema(dsn: str, tmp_path: Path, capsys: Out) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "insert into pgflow.stepwell_migrations (name, checksum, breaking)"
            " values ('9999_later.sql', '', true)"
        )
    assert run(["worker", write_program(tmp_path, PROGRAM), "--dsn", dsn]) == Exit.SCHEMA
    assert "pip install -U stepwell" in capsys.readouterr().err
    assert run(["migrate", "--dsn", dsn]) == Exit.SCHEMA


def test_without_a_database_commands_exit_with_3_and_say_how_to_get_one(
    tmp_path: Path, capsys: Out
) -> None:
    for command in (["runs", "list"], ["migrate"], ["worker", write_program(tmp_path, PROGRAM)]):
        assert run(command) == Exit.DATABASE
        captured = capsys.readouterr()
        assert "stepwell db start" in captured.err
        assert captured.out == ""


def test_a_database_out_of_reach_exits_with_3(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setenv("STEPWELL_CONNECT_TIMEOUT", "0.3")
    for command in (["runs", "list"], ["migrate"], ["start", "f"]):
        assert run([*command, "--dsn", NOWHERE]) == Exit.DATABASE, command
        assert "check DATABASE_URL" in capsys.readouterr().err


def test_a_mistyped_setting_exits_with_2(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setenv("STEPWELL_CONCURENCY", "3")
    assert run(["runs", "list"]) == Exit.USAGE
    assert "STEPWELL_CONCURRENCY" in capsys.readouterr().err


def test_the_environment_names_the_database(
    dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    assert run(["runs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_worker_in_a_process_logs_json_and_stops_when_told(dsn: str, tmp_path: Path) -> None:
    words = ("worker", write_program(tmp_path, PROGRAM), "--name", "tester", "--concurrency", "3")
    variables = environment(tmp_path / "home", DATABASE_URL=dsn)
    worker = Program(*words, environment=variables, cwd=tmp_path)
    try:
        line = json.loads(worker.wait_for("WorkerStarted"))
        assert (line["flows"], line["concurrency"]) == (["f"], 3)
        while not registered(dsn):  # it says that it started a moment before it is known
            time.sleep(0.02)
        worker.process.terminate()
        assert worker.end() == 0
        assert "WorkerStopped" in worker.lines[-1]
    finally:
        worker.close()
    assert registered(dsn) == [("tester", False)]


def registered(dsn: str) -> list[tuple[str, bool]]:
    """The workers by name, and whether they are there still."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select function_name, stopped_at is null from pgflow.workers")
        return found.fetchall()


def test_db_starts_keeps_names_and_stops_a_server(
    new_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.setenv("STEPWELL_HOME", str(new_home))
    assert run(["db", "status", "--json"]) == Exit.FAILED
    assert json.loads(capsys.readouterr().out)["running"] is False
    try:
        assert run(["db", "start"]) == 0
        url = capsys.readouterr().out.strip()
        assert run(["db", "url"]) == 0
        assert capsys.readouterr().out.strip() == url
        with psycopg.connect(url) as connection:
            assert connection.execute("select current_database()").fetchone() == ("stepwell",)
        assert run(["db", "status"]) == 0
        assert "until `stepwell db stop`" in capsys.readouterr().out
        assert run(["migrate"]) == 0  # found without being named
        assert "using the embedded Postgres" in capsys.readouterr().err
    finally:
        assert run(["db", "stop"]) == 0
    assert run(["db", "status"]) == Exit.FAILED
    assert run(["db", "stop"]) == 0
