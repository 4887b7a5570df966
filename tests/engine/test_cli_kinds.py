"""Machines, jobs, signals and steering on the command line, against a worker and a database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from stepwell.cli.logs import StepLines
from stepwell.observe.events import ErrorHandled
from tests.engine.cli_programs import Command, asked, working, write_program

pytestmark = pytest.mark.usefixtures("alone")
PROGRAM = """
from stepwell import Await, Done, Machine, Spawn, Stepwell, Stop, job, step

class Checkout(Machine, queue="checkout"):
    order: int
    paid: bool = False

    @step(initial=True)
    async def begin(self, ctx):
        return Await("paid", then=self.ship, timeout=3600)

    @step
    async def ship(self, ctx):
        self.paid = True
        return Spawn([send.call(user_id=self.order)], then=self.thank)

    @step
    async def thank(self, ctx):
        return Done({"order": self.order})

@job(queue="mail", max_attempts=1)
async def send(user_id: int, note: str = "hello") -> str:
    if user_id < 0:
        raise ValueError("no such user")
    return f"{note} {user_id}"

app = Stepwell(machines=[Checkout], jobs=[send])
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    return write_program(tmp_path, PROGRAM)


@pytest.fixture
def worker(dsn: str, program: str) -> Generator[str]:
    """A worker that serves the program; the program's path."""
    with working(load_app(program), dsn):
        yield program


def test_a_job_is_enqueued_by_its_code_and_by_its_name(command: Command, worker: str) -> None:
    code, out, _ = command("enqueue", f"{worker}:send", '{"user_id": 7}', "--wait")
    assert (code, json.loads(out)) == (0, "hello 7")
    code, out, _ = command("enqueue", "send", '{"user_id": 8, "note": "hi"}', "--wait")
    assert (code, json.loads(out)) == (0, "hi 8")
    code, out, _ = command("enqueue", "send", "--input", '{"user_id": 8}', "--wait")
    assert (code, json.loads(out)) == (0, "hello 8")
    code, out, _ = command("start", "send", "--input", '{"user_id": 9}', "--wait")
    assert (code, json.loads(out)) == (0, "hello 9")
    code, _, err = command("enqueue", "send", '{"user_id": -1}', "--wait")
    assert code == Exit.FAILED
    assert "no such user" in err


def test_what_no_job_can_take_is_wrong_usage(command: Command, program: str) -> None:
    for words, said in (
        (["send", "{user_id: 1}"], "the input: the JSON"),
        ([f"{program}:send", '{"user": 1}'], "user"),
        ([f"{program}:send", '{"user_id": "x"}'], "user_id"),
        ([f"{program}:Checkout", "{}"], "is no job"),
        ([f"{program}:send", '{"user_id": 1}', "--at", "2030-01-31T09:00"], "no time zone"),
        ([f"{program}:send", '{"user_id": 1}', "--unique", "always"], "always"),
        ([f"{program}:send", '{"user_id": 1}', "--delay", "-3"], "delay is -3.0"),
        ([f"{program}:send", '{"user_id": 1}', "--queue", ""], "queue is ''"),
    ):
        code, out, err = command("enqueue", *words)
        assert (code, out) == (Exit.USAGE, ""), words
        assert said in err


def test_a_start_is_told_how(command: Command, program: str) -> None:
    words = ["--key", "order:1", "--priority", "-3", "--queue", "slow", "--delay", "60"]
    send = f"{program}:send"
    run_id = command("enqueue", send, '{"user_id": 7}', *words)[1].strip()
    shown = asked(command, "runs", "show", "order:1")
    assert (shown["id"], shown["priority"], shown["kind"]) == (run_id, -3, "job")
    assert (shown["input"], shown["steps"][0]["status"]) == (
        {"user_id": 7, "note": "hello"},
        "delayed",
    )
    _, out, err = command("enqueue", send, '{"user_id": 8}', "--key", "order:1")
    assert (out.strip(), "order:1" in err) == (run_id, True)
    assert asked(command, "enqueue", send, '{"user_id": 8}')["created"]
    command("enqueue", send, '{"user_id": 8}', "--at", "2130-01-31T09:00+01:00", "--key", "later")
    assert "again in" in command("runs", "show", "later")[1]
    assert {queue["queue"] for queue in asked(command, "queues", "list")} == {"mail", "slow"}


def test_a_machine_waits_for_its_signal_and_shows_it(command: Command, worker: str) -> None:
    checkout = f"{worker}:Checkout"
    run_id = command("start", checkout, "--input", '{"order": 42}', "--key", "order:42")[1].strip()
    until(lambda: asked(command, "runs", "show", run_id)["steps"][0]["status"] == "waiting")
    _, out, _ = command("runs", "show", "order:42")
    for said in ("checkout", "waiting", "waits for paid until", '"paid":false'):
        assert said in out
    words = ("--payload", '{"amount": 100}', "--dedup-key", "a")
    first = asked(command, "signal", "order:42", "paid", *words)
    assert (first["created"], first["run_id"]) == (True, run_id)
    assert command("runs", "show", run_id, "--wait")[0] == 0
    shown = asked(command, "runs", "show", run_id)
    assert (shown["status"], shown["output"]) == ("completed", {"order": 42})
    assert shown["state"] == {"order": 42, "paid": True}
    [signal] = shown["signals"]
    assert (signal["name"], signal["payload"]) == ("paid", {"amount": 100})
    assert signal["consumed_at"] is not None
    [child] = shown["children"]
    assert (child["slug"], child["kind"], child["output"]) == ("send", "job", "hello 42")
    _, out, _ = command("runs", "show", run_id)
    assert all(said in out for said in (child["run_id"], '"hello 42"', "consumed", "amount"))
    assert [each["kind"] for each in asked(command, "runs", "list", "--kind", "job")] == ["job"]
    assert "send job" in command("runs", "list")[1]


def test_signals_go_to_an_id_its_beginning_or_a_key(command: Command, program: str) -> None:
    run_id = command("start", f"{program}:Checkout", "--input", '{"order": 1}', "--key", "deadbeef")
    run_id = run_id[1].strip()
    for target in (run_id, run_id[:14], "deadbeef"):
        code, out, err = command("signal", target, "paid")
        assert (code, err) == (0, "")
        assert int(out) > 0
    command("signal", "deadbeef", "paid", "--dedup-key", "a")
    code, _, err = command("signal", "deadbeef", "paid", "--dedup-key", "a")
    assert (code, "nothing was added" in err) == (0, True)
    assert command("signal", "nobody", "paid")[0] == Exit.FAILED
    assert command("signal", run_id, "paid", "{amount: 1}")[0] == Exit.USAGE
    command("runs", "cancel", run_id)
    code, _, err = command("signal", run_id, "paid")
    assert code == Exit.FAILED
    assert "to signal 'paid' to" in err


def test_runs_are_steered_by_key(command: Command, program: str) -> None:
    command("enqueue", f"{program}:send", '{"user_id": 7}', "--key", "k")
    run_id = asked(command, "runs", "show", "k")["id"]
    assert asked(command, "runs", "pause", "k", "--actor", "ada") == {"id": run_id, "paused": True}
    assert "paused" in command("runs", "list")[1]
    assert "paused" in command("runs", "show", "k")[1]
    code, _, err = command("runs", "pause", "k")
    assert (code, err.endswith("it is paused already\n")) == (Exit.FAILED, True)
    assert asked(command, "runs", "resume", "k")["resumed"]
    assert command("runs", "resume", "k")[0] == Exit.FAILED
    assert asked(command, "runs", "priority", "k", "-5")["moved"]
    assert asked(command, "runs", "show", "k")["priority"] == -5
    code, _, err = command("runs", "delete", "k")
    assert (code, "is live" in err) == (Exit.FAILED, True)
    assert command("runs", "cancel", "k", "--reason", "a whim")[0] == 0
    assert "it has ended (cancelled)" in command("runs", "pause", "k")[2]
    assert asked(command, "runs", "show", "k")["steps"][0]["status"] == "cancelled"
    assert "∅ cancelled" in command("runs", "show", "k")[1].splitlines()[-1]
    again = UUID(command("runs", "restart", "k")[1].strip())
    assert asked(command, "runs", "show", str(again))["origin_id"] == run_id
    done = [entry["action"] for entry in asked(command, "audit", run_id)]
    _, out, _ = command("audit", "--limit", "50")
    assert all(word in out for word in ("pause", "resume", "cancel", "ada", "a whim"))
    assert {"pause", "resume", "cancel"} <= {action.split("_")[0] for action in done}
    assert asked(command, "runs", "delete", run_id)["deleted"]
    assert command("runs", "show", run_id)[0] == Exit.FAILED


def test_queues_and_definitions_are_paused(command: Command, program: str) -> None:
    assert "no queues" in command("queues", "list")[2]
    assert "nothing is deployed" in command("flows", "list")[2]
    assert "nothing was done" in command("audit")[2]
    command("enqueue", f"{program}:send", '{"user_id": 7}')
    for group, name in (("queues", "mail"), ("flows", "send")):
        paused = asked(command, group, "pause", name, "--reason", "too hot")
        assert paused == {"name": name, "paused": True}
        code, _, err = command(group, "pause", name)
        assert (code, "is paused already" in err) == (Exit.FAILED, True)
        _, out, _ = command(group, "list")
        assert "paused: too hot" in out
        assert asked(command, group, "list")[0]["reason"] == "too hot"
        assert command(group, "resume", name)[1] == f"resumed {name}\n"
        code, _, err = command(group, "resume", name)
        assert (code, "it is not paused" in err) == (Exit.FAILED, True)
    [queue] = asked(command, "queues", "list")
    assert (queue["ready"], queue["running"], queue["paused_at"]) == (1, 0, None)
    [job] = asked(command, "flows", "list")
    assert (job["slug"], job["kind"], job["version"], job["queue"]) == ("send", "job", 1, "mail")


def test_a_pause_of_what_nobody_uses_says_so(command: Command) -> None:
    code, out, err = command("queues", "pause", "mial")
    assert (code, out) == (0, "paused mial\n")
    assert "no definition uses the queue 'mial'" in err


def test_who_follows_a_job_reads_its_name(command: Command, worker: str) -> None:
    _, out, _ = command("enqueue", f"{worker}:send", '{"user_id": -1}', "--key", "k")
    command("runs", "show", out.strip(), "--wait")
    _, out, _ = command("runs", "show", "k", "--wait")
    assert "send[0] attempt 1 failed: ValueError: no such user" in out
    assert "send failed after" in out


def test_a_line_says_what_on_error_made_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    say = StepLines(Console(width=200))
    say(ErrorHandled(UUID(int=7), "order", "ship", 0, 2, 0.5, "OSError", "no route", "next"))
    assert "ship  attempt 2 is handled by on_error: next (OSError: no route)" in (
        capsys.readouterr().out
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
