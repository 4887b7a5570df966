"""Help, usage errors and exit codes of the command line, and how values are shown."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest

from stepwell.cli.exits import Exit, LoadError, UsageError, exit_of, message_of
from stepwell.cli.logs import JsonLines
from stepwell.cli.main import COMMANDS, run
from stepwell.cli.output import compact, seconds, visible
from stepwell.errors import (
    DatabaseUnavailable,
    EmbeddedError,
    NotFound,
    PayloadError,
    RunFailed,
    SchemaError,
    SettingsError,
)
from stepwell.observe.events import TaskFailed
from stepwell.observe.logs import log_event

Out = pytest.CaptureFixture[str]


def test_help_names_every_command_and_the_exit_codes(capsys: Out) -> None:
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in COMMANDS)
    assert "3 no database" in said


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("worker", ["--concurrency", "--lease", "--grace", "--name", "--dsn", "--verbose", "-q"]),
        ("dev", ["--dsn", "starts anew"]),
        ("demo", ["--dsn"]),
        ("migrate", ["--status", "--json"]),
        ("start", ["--input", "--key", "--wait", "--json", "@FILE"]),
        ("runs list", ["--flow", "--status", "--limit", "--json"]),
        ("runs show", ["--attempts", "--watch", "--json"]),
        ("runs cancel", ["--reason", "what they return is dropped"]),
        ("runs retry", ["--json"]),
        ("db start", ["--json"]),
    ],
)
def test_every_command_explains_its_options(capsys: Out, command: str, words: list[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out.lower()
    assert [word for word in words if word.lower() not in said] == []
    assert "until-eof" not in said
    assert re.search(r"default: (none|false|\(\))", said) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("strat greet", "strat"),
        ("worker", "TARGET"),
        ("runs list --limit 0", "--limit"),
        ("runs list --status done", "--status"),
        ("worker app.py --concurrency many", "--concurrency"),
        ("db status --now", "--now"),
        ("enqueue mail --prioritty 3", "'3' is too much: is an option misspelt"),
        ("worker gone.py", "there is no file gone.py"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_was_wrong(
    capsys: Out, line: str, said: str
) -> None:
    assert run(line.split()) == Exit.USAGE
    captured = capsys.readouterr()
    assert said.lower() in captured.err.lower()
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (SettingsError("x"), 2),
        (PayloadError("x"), 2),
        (LoadError("x"), 1),
        (NotFound("x"), 1),
        (RunFailed(UUID(int=1)), 1),
        (DatabaseUnavailable("x"), 3),
        (EmbeddedError("x"), 3),
        (psycopg.OperationalError("x"), 3),
        (SchemaError("x"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), None),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int | None) -> None:
    assert exit_of(error) == code


def test_a_lost_connection_says_what_to_do() -> None:
    said = message_of(psycopg.OperationalError("connection refused\nIs the server running?"))
    first, second = said.splitlines()
    assert first == "connection refused"
    assert second.startswith("check DATABASE_URL")


def test_help_loads_no_database_driver() -> None:
    code = (
        "import sys; from stepwell.cli.main import run; run(['--help']);"
        "sys.exit(' '.join(m for m in ('psycopg', 'rich.markdown') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (7300, "2 h 1 min"),
    ],
)
def test_durations_are_for_people(value: float, said: str) -> None:
    assert seconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), ("", '""'), (False, "false"), (None, "null"), ({"a": "xxxxxxxx"}, '{"a":"xxx…')],
)
def test_values_are_shown_as_short_json(value: object, said: str) -> None:
    assert compact(value, 10) == said


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    assert visible("no \x1b[2J luck\x9b\x07\n\tü") == "no \N{REPLACEMENT CHARACTER}[2J luck" + (
        "\N{REPLACEMENT CHARACTER}" * 2 + "\n\tü"
    )
    assert "\x1b" not in compact("\x1b[2J")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, object]]]:
    caplog.set_level(logging.DEBUG, "stepwell")
    return lambda: [json.loads(JsonLines().format(record)) for record in caplog.records]


def test_a_json_log_line_has_the_fields_of_its_event(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    log_event(TaskFailed(UUID(int=7), "shop", "pay", 0, 2, 0.5, "OSError", "no\nroute", True))
    [line] = lines()
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "event": "TaskFailed",
        "run_id": str(UUID(int=7)),
        "flow": "shop",
        "step": "pay",
        "task_index": 0,
        "attempt": 2,
        "seconds": 0.5,
        "error_type": "OSError",
        "message": "no\nroute",
        "will_retry": True,
    }


def test_a_users_own_log_record_is_a_json_line_too(
    lines: Callable[[], list[dict[str, object]]],
) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("stepwell.tests").warning("%s happened", "it", exc_info=True)
    [line] = lines()
    assert (line["logger"], line["message"]) == ("stepwell.tests", "it happened")
    assert "ValueError: odd" in str(line["traceback"])
