"""`stepwell worker --processes`: several workers under one supervisor, which replaces what dies."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stepwell.client.client import Client
from tests.ports import free_ports

from .cli_programs import PATIENCE, Program, environment, write_program

APP = """
import asyncio, os
from pathlib import Path
from stepwell import Flow, Stepwell

who = Flow("who", timeout=600)

@who.map
async def one(n: int) -> int:
    while not Path("go").exists():
        await asyncio.sleep(0.02)
    return os.getpid()

app = Stepwell(flows=[who], name="crew")
"""
Start = Callable[..., Program]
pytestmark = pytest.mark.timeout(240)  # programs that start programs, on a slow machine


@pytest.fixture
def start(tmp_path: Path, dsn: str) -> Generator[Start]:
    """Start a supervisor on the test's database."""
    programs: list[Program] = []

    def start(text: str, processes: int, *options: str) -> Program:
        program = Program(
            *("worker", write_program(tmp_path, text), "--processes", str(processes)),
            *("--logs", "json"),
            *options,
            environment=environment(tmp_path, STEPWELL_DSN=dsn),
            cwd=tmp_path,
        )
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.close()


def lines(program: Program, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in program.lines if line.startswith("{")]
    return [line for line in found if line.get("event") == event]


def pids(program: Program) -> dict[int, int]:
    """The last process of each number."""
    return {line["number"]: line["pid"] for line in lines(program, "ProcessStarted")}


def until(wanted: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not wanted():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def running_at(dsn: str) -> dict[int, int]:
    """Tasks in hand by the process of their worker."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        rows = conn.execute(
            "select w.pid, count(*) from pgflow.step_tasks t"
            " join pgflow.workers w on w.worker_id = t.last_worker_id"
            " where t.stage = 'running' group by 1"
        ).fetchall()
    return dict(rows)


def health(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, {}


def test_four_processes_serve_and_one_that_is_killed_is_replaced(
    start: Start, dsn: str, tmp_path: Path
) -> None:
    port = free_ports(5)
    options = ("--concurrency", "2", "--lease", "5", "--health-port", str(port))
    program = start(APP, 4, *options)
    program.wait_for("WorkerStarted", 4)
    until(lambda: health(port, "/ready")[0] == 200, f"all four are ready: {program.lines}")
    first = pids(program)
    assert len(set(first.values())) == 4

    with Client.sync(dsn) as client:
        run = client.run(client.start("who", list(range(8))).id)
        until(lambda: running_at(dsn) == dict.fromkeys(first.values(), 2), "each has its share")
        os.kill(first[3], signal.SIGKILL)
        program.wait_for("ProcessEnded")
        [ended] = lines(program, "ProcessEnded")
        assert (ended["number"], ended["pid"], ended["code"]) == (3, first[3], -9)
        until(lambda: pids(program)[3] != first[3], "it is replaced")
        second = pids(program)
        until(lambda: running_at(dsn) == dict.fromkeys(second.values(), 2), "its tasks too")

        assert health(port, "/live")[0] == 200
        status = health(port, "/status")[1]
        assert [each["name"] for each in status["processes"]] == [f"crew-{n}" for n in (1, 2, 3, 4)]
        assert [each["deaths"] for each in status["processes"]] == [0, 0, 1, 0]
        assert health(port + 2, "/status")[1]["name"] == "crew-2"

        program.signal(signal.SIGTERM)
        program.wait_for("WorkerStopping", 4)
        (tmp_path / "go").touch()  # what runs ends, and only then do they go
        assert sorted(run.result(timeout=PATIENCE)["one"]) == sorted(2 * list(second.values()))
    assert program.end() == 0
    assert not any(is_alive(pid) for pid in second.values())


def test_a_supervisor_that_is_killed_leaves_no_process_behind(start: Start) -> None:
    program = start(APP, 2, "--grace", "0")
    program.wait_for("WorkerStarted", 2)
    workers = list(pids(program).values())
    program.signal(signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in workers), "all of them go")


def test_a_second_signal_does_not_wait_for_what_runs(start: Start, dsn: str) -> None:
    program = start(APP, 2, "--concurrency", "1", "--grace", "600")
    program.wait_for("WorkerStarted", 2)
    with Client.sync(dsn) as client:
        client.start("who", [1, 2])
        until(lambda: len(running_at(dsn)) == 2, "both have one in hand")
        program.signal(signal.SIGINT)
        program.wait_for("WorkerStopping", 2)
        program.signal(signal.SIGINT)
        assert program.end() == 0
    assert running_at(dsn) == {}  # they went back to the queue


def test_a_drained_process_is_replaced_by_one_with_the_code_of_now(start: Start, dsn: str) -> None:
    program = start(APP, 2, "--lease", "6")
    program.wait_for("WorkerStarted", 2)
    with Client.sync(dsn) as client:
        [second] = [each for each in client.workers() if each.name == "crew-2"]
        assert client.drain(second.id) == [second.id]
    program.wait_for("WorkerStarted", 3)
    [ended] = lines(program, "ProcessEnded")
    assert (ended["number"], ended["code"], ended["again_in"]) == (2, 0, 0)


def test_what_no_worker_can_do_is_said_once(start: Start) -> None:
    program = start("import no_such_module_anywhere", 2)
    assert program.end() == 1
    said = "".join(program.lines)
    assert said.count("no_such_module_anywhere") >= 1
    assert len(pids(program)) == 1
