"""`stepwell runs watch --events`: a line per event, until the run ends."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from stepwell import Client
from stepwell.cli.exits import Exit
from stepwell.cli.main import run
from tests.engine.client_hands import Worker, single

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("alone")]
PATIENCE = 60.0


def once_watched(dsn: str, act: Callable[[Worker], object]) -> threading.Thread:
    """Act as a worker when somebody listens."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not conn.execute("select from pgflow.listeners").rowcount:
                assert time.monotonic() < deadline, "nobody listens"
                time.sleep(0.02)
            act(Worker(conn))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def watched(
    dsn: str, capsys: pytest.CaptureFixture[str], act: Callable[[Worker], object], *words: str
) -> tuple[int, str]:
    with Client.sync(dsn) as client:
        client.start(single(), 1, key="order:1")
    working = once_watched(dsn, act)
    code = run(["runs", "watch", "order:1", "--dsn", dsn, *(words or ["--events"])])
    working.join(PATIENCE)
    return code, capsys.readouterr().out


def test_a_line_per_event_until_it_ends(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = watched(dsn, capsys, lambda worker: worker.complete({"ok": True}))
    said = [line.split("  ", 1)[1] for line in out.splitlines()]
    assert code == Exit.OK
    assert said == ['ship completed: {"ok":true}', 'run completed: {"ship":{"ok":true}}']


def test_a_run_that_fails_exits_with_1_and_shows_nothing_that_a_terminal_obeys(
    dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = watched(dsn, capsys, lambda worker: worker.fail("bo\x1b[31mom\nbang"))
    assert code == Exit.FAILED
    assert [line.split("  ", 1)[1] for line in out.splitlines()] == [
        "ship failed: bo\N{REPLACEMENT CHARACTER}[31mom bang",
        "run failed: bo\N{REPLACEMENT CHARACTER}[31mom bang",
    ]


def test_json_is_an_object_per_line(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = watched(dsn, capsys, lambda worker: worker.complete(7), "--json")
    said: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert code == Exit.OK
    assert [each["event"] for each in said] == ["step:ship:completed", "run:completed"]
    assert said[0].keys() == {"event", "at", "payload"}
    assert said[1]["payload"]["output"] == {"ship": 7}


def test_a_run_that_is_not_there(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "watch", "order:2", "--dsn", dsn]) == Exit.FAILED
    assert "order:2" in capsys.readouterr().err
