"""`migrate --dump-sql` makes the schema that `migrate` makes."""

import subprocess

import psycopg
import pytest

from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from stepwell.dev.find import candidates
from tests.db.test_golden import GOLDEN, dump
from tests.servers import DatabaseServer

pytestmark = pytest.mark.usefixtures("alone")
Out = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def server(any_server: DatabaseServer) -> DatabaseServer:
    return any_server


def psql(dsn: str, script: str) -> subprocess.CompletedProcess[str]:
    program = next(c.directory / "psql" for c in candidates() if (c.directory / "psql").exists())
    command = [program, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", "-"]
    return subprocess.run(command, input=script, capture_output=True, text=True)


def test_psql_makes_the_schema_from_the_script(empty_dsn: str, capsys: Out) -> None:
    assert run(["migrate", "--dump-sql"]) == 0
    script = capsys.readouterr().out
    done = psql(empty_dsn, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert run(["migrate", "--status", "--dsn", empty_dsn]) == 0
    with psycopg.connect(empty_dsn) as conn:
        version = conn.info.server_version // 10_000
    if version == 18:
        assert dump(empty_dsn) == GOLDEN.read_text()
    again = psql(empty_dsn, script)
    assert again.returncode != 0
    assert "run `stepwell migrate`" in again.stderr


def test_somebody_elses_pgmq_is_left_alone(empty_dsn: str, capsys: Out) -> None:
    with psycopg.connect(empty_dsn) as conn:
        conn.execute("create schema pgmq; create table pgmq.meta (queue_name text primary key)")
    assert run(["migrate", "--dump-sql"]) == 0
    assert psql(empty_dsn, capsys.readouterr().out).returncode == 0
    with psycopg.connect(empty_dsn) as conn:
        made = conn.execute(
            "select count(*) from pg_proc where pronamespace = 'pgmq'::regnamespace"
        )
        assert made.fetchone() == (0,)
    assert run(["migrate", "--status", "--dsn", empty_dsn]) == Exit.OK
