"""`stepwell doctor`: for people with remedies, for programs as JSON, with an exit code."""

import json

import psycopg
import pytest

from stepwell.cli import doctor
from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from stepwell.db.doctor.examine import Diagnosis
from stepwell.db.doctor.finding import Finding
from stepwell.settings import Settings

from .cli_programs import Command

Out = pytest.CaptureFixture[str]


def test_each_finding_is_told_with_why_it_matters_and_what_helps(
    command: Command, dsn: str
) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("drop index pgflow.idx_step_tasks_delayed")
    code, out, _ = command("doctor")
    assert code == Exit.FAILED
    lines = out.splitlines()
    at = lines.index("error    index idx_step_tasks_delayed is missing")
    assert (
        lines[at + 1].strip() == "what it served now reads whole tables; a key lets rows in twice"
    )
    assert lines[at + 2].strip() == (
        "→ create index concurrently idx_step_tasks_delayed on pgflow.step_tasks (ready_at)"
        " where stage = 'delayed';"
    )
    assert "checks" in lines[-1]
    code, out, _ = command("doctor", "--json")
    data = json.loads(out)
    assert (code, data["healthy"], data["unchecked"]) == (Exit.FAILED, False, [])
    [finding] = [each for each in data["findings"] if each["check"] == "missing_index"]
    assert finding["facts"] == {"index": "idx_step_tasks_delayed"}
    assert finding["remedies"][0].startswith("create index concurrently")


def test_a_database_that_is_well_exits_with_0_and_says_what_was_left_out(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def well(settings: Settings) -> Diagnosis:
        assert settings.dsn
        finding = Finding("nobody_works", "info", "no worker is there\x1b[2J", "nothing runs")
        return Diagnosis((finding,), 26, ("slots: permission denied",))

    monkeypatch.setattr(doctor, "examine", well)
    code, out, err = command("doctor")
    assert code == Exit.OK
    assert out.splitlines()[-1] == "healthy: 25 checks, 1 info"
    assert "\x1b" not in out
    assert err == "not looked at: slots: permission denied\n"


@pytest.mark.usefixtures("alone")
def test_without_a_database_or_a_schema_it_says_so(empty_dsn: str, capsys: Out) -> None:
    assert run(["doctor"]) == Exit.DATABASE
    assert run(["doctor", "--dsn", "host=/nowhere user=nobody"]) == Exit.DATABASE
    assert "check DATABASE_URL" in capsys.readouterr().err
    assert run(["doctor", "--dsn", empty_dsn]) == Exit.FAILED
    assert "→ stepwell migrate" in capsys.readouterr().out
