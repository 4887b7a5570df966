"""Queues of messages and their dead letters on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from rich.console import Console

from stepwell.cli.exits import Exit
from stepwell.cli.logs import StepLines
from stepwell.db.messages import Ending, close_messages, read_messages
from stepwell.observe.events import (
    MessageArchived,
    MessageFailed,
    MessageReleased,
    QueueFailed,
    QueueOpened,
    StarterFailed,
    StarterRetryScheduled,
    StarterSuccess,
    WorkerStarted,
)

from .cli_programs import Command


def bury(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        read = read_messages("tasks", 30, 100).on_sync(conn)
        ends = [Ending(m.msg_id, m.read_ct, "dead", 0, "ValueError", "no", "a trace") for m in read]
        close_messages("tasks", ends).on_sync(conn)


def test_messages_are_sent(command: Command, dsn: str, tmp_path: Path) -> None:
    code, _, err = command("queues", "send", "tasks", "1")
    assert (code, "stepwell queues create" in err) == (Exit.FAILED, True)
    assert command("queues", "create", "tasks")[:2] == (0, "created tasks\n")
    assert "there already" in command("queues", "create", "tasks")[2]
    code, out, _ = command("queues", "send", "tasks", '{"n": 1}', "--headers", '{"h": 2}')
    assert code == 0 and int(out) > 0
    (tmp_path / "message.json").write_text("[1, 2]")
    code, out, _ = command("queues", "send", "tasks", "@message.json", "--delay", "60", "--json")
    assert json.loads(out)["queue"] == "tasks"
    assert command("queues", "send", "tasks", "-5")[0] == 0
    with psycopg.connect(dsn) as conn:
        sent = conn.execute(
            "select message, headers, vt > enqueued_at from pgmq.q_tasks order by msg_id"
        ).fetchall()
    assert sent == [({"n": 1}, {"h": 2}, False), ([1, 2], None, True), (-5, None, False)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["send", "tasks", "{n: 1}"], "the message: the JSON"),
        (["send", "tasks", "1", "--headers", "{"], "the headers: the JSON"),
        (["send", "tasks", "1", "--delay", "-3"], "delay is -3.0"),
        (["resend", "tasks"], "say which dead letters"),
        (["resend", "tasks", "1", "--all"], "say which dead letters"),
        (["forget", "tasks"], "say which dead letters"),
        (["dead", "--limit", "0"], "Must be >= 1"),
    ],
)
def test_wrong_usage_is_explained(command: Command, words: list[str], says: str) -> None:
    code, out, err = command("queues", *words)
    assert (code, out) == (Exit.USAGE, "") and says in err


def test_a_queue_of_messages_is_listed_paused_and_resumed(command: Command) -> None:
    command("queues", "create", "tasks")
    command("queues", "send", "tasks", "1")
    assert command("queues", "pause", "tasks", "--reason", "full") == (0, "paused tasks\n", "")
    [row] = json.loads(command("queues", "list", "--json")[1])
    assert (row["queue"], row["ready"], row["running"], row["reason"]) == ("tasks", 1, 0, "full")
    assert command("queues", "resume", "tasks")[:2] == (0, "resumed tasks\n")


def test_dead_letters_are_listed_sent_again_and_forgotten(command: Command, dsn: str) -> None:
    command("queues", "create", "tasks")
    assert "no dead letters" in command("queues", "dead")[2]
    for n in range(4):
        command("queues", "send", "tasks", json.dumps({"n": n}))
    bury(dsn)
    code, out, _ = command("queues", "dead", "tasks", "--limit", "3", "--traceback")
    assert code == 0 and "ValueError: no" in out and "a trace" in out and '{"n":0}' not in out
    letters = json.loads(command("queues", "dead", "--json")[1])
    assert [letter["message"] for letter in letters] == [{"n": n} for n in (3, 2, 1, 0)]
    ids = [str(letter["id"]) for letter in letters]

    code, out, _ = command("queues", "resend", "tasks", ids[0])
    assert code == 0 and out.startswith(f"resent {ids[0]} as ")
    code, _, err = command("queues", "resend", "tasks", ids[0], ids[1])
    assert code == Exit.FAILED and "1 of them are no dead letters of tasks" in err
    assert command("queues", "forget", "tasks", ids[2])[:2] == (0, "forgot 1\n")
    assert len(json.loads(command("queues", "resend", "tasks", "--all", "--json")[1])) == 1
    code, out, err = command("queues", "resend", "tasks", "--all")
    assert (code, out) == (0, "") and "no dead letters of tasks" in err
    code, out, _ = command("queues", "forget", "tasks", "--all", "--json")
    assert json.loads(out) == {"queue": "tasks", "forgotten": 0}


def test_a_line_says_what_became_of_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    say = StepLines(Console(width=200))
    say(QueueOpened("tasks", True))
    say(MessageArchived("tasks", 7, 1, 0.25))
    say(MessageFailed("tasks", 8, 2, 0.5, "OSError", "no route", 6))
    say(MessageFailed("tasks", 8, 3, 0.5, "OSError", "no route", None))
    say(MessageReleased("tasks", 9, 1))
    say(QueueFailed("mail", "it is gone"))
    said = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "reading queue tasks",
        "✓ message 7 of tasks  250 ms",
        "✗ message 8 of tasks  try 2 failed, tries again (OSError: no route)",
        "✗ message 8 of tasks  is a dead letter (OSError: no route)",
        "↩ message 9 of tasks  given back, is read again",
        "queue mail: it is gone",
    ]


def test_a_line_says_what_did_not_come_up(capsys: pytest.CaptureFixture[str]) -> None:
    say = StepLines(Console(width=200))
    say(StarterSuccess("good", "flow", "succeeded", 0, None, None, None, 0.1))
    say(StarterFailed("bad", "flow", "failed_permanent", 0, "permanent", "registry", "no steps"))
    away = ("mail", "job", "retrying", 1, "transient", "worker", "it is away")
    for attempt in (1, 2):  # the second says nothing new
        say(StarterRetryScheduled(*away, attempt=attempt, delay=2))
    say(WorkerStarted(uuid4(), ("good", "bad", "mail"), 10))
    say(StarterSuccess("mail", "job", "succeeded", 1, None, None, None, 0.1))
    said = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        "flow bad is not served: no steps",
        "job mail did not come up, is tried again: it is away",
        "serving good",
        "job mail is served now",
    ]
