"""`stepwell start` and `stepwell runs`, against a worker and a database."""

import io
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from stepwell.cli import picture
from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from tests.engine.cli_programs import Answer, Command, asked, working, write_program

pytestmark = pytest.mark.usefixtures("alone")
PROGRAM = """
from dataclasses import dataclass
from stepwell import Flow, PermanentError, Stepwell

@dataclass
class Order:
    lines: list[int]

orders = Flow("orders", base_delay=0)

@orders.step
async def lines(flow_input: Order) -> list[int]:
    return flow_input.lines

@orders.map(over=lines, max_attempts=2)
def price(line: int, ctx) -> int:
    if line < 0:
        raise ValueError(f"no such line {line}")
    if line == 7 and ctx.attempt == 1:
        raise OSError("busy")
    return line * 10

@orders.step(when={"lines": [99]})
async def gift(lines: list[int]) -> str:
    return "a pen"

@orders.step
async def total(price: list[int]) -> int:
    return sum(price)

app = Stepwell(flows=[orders])
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    return write_program(tmp_path, PROGRAM)


@pytest.fixture
def worker(dsn: str, program: str) -> Generator[str]:
    """A worker that serves the program; the program's path."""
    with working(load_app(program), dsn):
        yield program


def only_id(found: list[dict[str, Any]]) -> str:
    [run] = found
    return run["id"]


def started(command: Command, program: str, lines: list[int], *words: str) -> Answer:
    return command("start", f"{program}:orders", "--input", json.dumps({"lines": lines}), *words)


def test_start_prints_the_id_and_nothing_else(command: Command, program: str) -> None:
    code, out, err = started(command, program, [1])
    assert (code, err) == (0, "")
    assert UUID(out.strip())


def test_start_waits_and_prints_the_output(command: Command, worker: str) -> None:
    code, out, _ = started(command, worker, [1, 7], "--wait")
    assert (code, json.loads(out)) == (0, {"total": 80})


def test_a_run_that_fails_exits_with_1_and_says_where(command: Command, worker: str) -> None:
    code, out, err = started(command, worker, [1, -1], "--wait")
    assert (code, out) == (Exit.FAILED, "")
    assert "failed at step 'price': ValueError: no such line -1" in err
    assert "stepwell runs show" in err


def test_start_in_json_has_the_same_keys_whatever_happens(command: Command, worker: str) -> None:
    keys = {"id", "created", "status", "output", "failed_step", "error_type", "error_message"}
    for lines, status in (([1], "completed"), ([-1], "failed")):
        _, out, _ = started(command, worker, lines, "--wait", "--json")
        answer = json.loads(out)
        assert answer.keys() == keys
        assert answer["status"] == status
    assert (answer["failed_step"], answer["error_type"]) == ("price", "ValueError")


def test_waiting_ends_with_its_timeout(command: Command, program: str) -> None:
    code, _, err = started(command, program, [1], "--wait", "--timeout", "0.1")
    assert code == Exit.FAILED
    assert "had not ended after 0.1 s" in err


def test_the_same_key_is_the_same_run(command: Command, program: str) -> None:
    _, first, _ = started(command, program, [1], "--key", "order:1")
    code, second, err = started(command, program, [1], "--key", "order:1")
    assert (code, second) == (0, first)
    assert "order:1" in err


def test_input_comes_from_a_file_or_stdin(
    command: Command, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(command, program, [0])  # the slug is known from here on
    (tmp_path / "order.json").write_text('{"lines": [1]}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"lines": [2]}'))
    for given, lines in (("@order.json", [1]), ("-", [2])):
        code, out, _ = command("start", "orders", "--input", given)
        assert code == 0
        assert asked(command, "runs", "show", out.strip())["input"] == {"lines": lines}


@pytest.mark.parametrize(
    ("flow", "given", "said"),
    [
        ("orders", "{lines: 1}", "the input: the JSON"),
        ("orders", "@gone.json", "gone.json cannot be read"),
        ("{program}:orders", '{"lines": ["x"]}', "$.lines[0]"),
        ("{program}:nothing", "1", "no flow, machine or job 'nothing'; it has orders"),
    ],
)
def test_an_input_that_cannot_be_meant_exits_with_2(
    command: Command, program: str, flow: str, given: str, said: str
) -> None:
    code, out, err = command("start", flow.format(program=program), "--input", given)
    assert (code, out) == (Exit.USAGE, "")
    assert said in err


def test_an_unknown_flow_exits_with_1(command: Command) -> None:
    code, _, err = command("start", "orderz")
    assert code == Exit.FAILED
    assert "orderz" in err


def test_list_is_newest_first_and_can_be_narrowed(command: Command, program: str) -> None:
    ids = [started(command, program, [n])[1].strip() for n in (1, 2, 3)]
    command("runs", "cancel", ids[0])
    assert [run["id"] for run in asked(command, "runs", "list")] == ids[::-1]
    assert [run["id"] for run in asked(command, "runs", "list", "--limit", "1")] == ids[2:]
    assert [r["id"] for r in asked(command, "runs", "list", "--status", "cancelled")] == ids[:1]
    assert asked(command, "runs", "list", "--flow", "other") == []
    code, out, _ = command("runs", "list")
    assert code == 0
    assert all(run_id in out for run_id in ids)


def test_show_has_every_step_with_its_tasks_attempts_and_output(
    command: Command, worker: str
) -> None:
    started(command, worker, [1, 7], "--wait")
    run_id = only_id(asked(command, "runs", "list"))
    shown = asked(command, "runs", "show", run_id, "--attempts")
    assert (shown["status"], shown["output"]) == ("completed", {"total": 80})
    steps = {step["step"]: step for step in shown["steps"]}
    assert steps["price"]["output"] == [10, 70]
    assert (steps["price"]["completed_tasks"], steps["price"]["failed_attempts"]) == (2, 1)
    assert steps["gift"]["status"] == "skipped"
    [attempt] = shown["attempts"]
    assert (attempt["step"], attempt["task_index"], attempt["error_type"]) == (
        "price",
        1,
        "OSError",
    )

    code, out, err = command("runs", "show", run_id)
    assert code == 0
    assert all(word in out for word in ("orders", "price", "2/2", "1x", "skipped", "[10,70]"))
    assert "1 failed attempt" in err
    _, out, _ = command("runs", "show", run_id, "--attempts")
    assert "OSError: busy" in out
    assert "Traceback" in out


def test_a_list_of_attempts_says_when_it_was_cut(
    command: Command, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = json.loads(started(command, worker, [-1, -1], "--wait", "--json")[1])["id"]
    every = asked(command, "runs", "show", run_id, "--attempts")["attempts"]
    assert len(every) >= 2
    monkeypatch.setattr(picture, "MOST_ATTEMPTS", 1)
    _, out, err = command("runs", "show", run_id, "--attempts")
    assert out.count("attempt 1") + out.count("attempt 2") == 1
    assert "more than 1 failed attempts: these are the first 1" in err
    _, out, err = command("runs", "show", run_id, "--attempts", "--json")
    assert len(json.loads(out)["attempts"]) == 1
    assert "these are the first 1" in err
    assert "more than 1 failed attempts: add --attempts" in command("runs", "show", run_id)[2]


def test_a_limit_beyond_reason_is_wrong_usage(command: Command) -> None:
    for limit in ("0", "10001"):
        assert command("runs", "list", "--limit", limit)[0] == Exit.USAGE


def test_a_failed_run_shows_the_error_with_its_type(command: Command, worker: str) -> None:
    started(command, worker, [-1], "--wait")
    run_id = only_id(asked(command, "runs", "list", "--status", "failed"))
    code, out, _ = command("runs", "show", run_id)
    assert code == 0  # showing it succeeded
    assert out.count("ValueError: no such line -1") == 2


def test_watching_ends_with_the_run_and_exits_with_how_it_ended(
    command: Command, worker: str
) -> None:
    for lines, code in (([1, 7], 0), ([-1], 1)):
        _, run_id, _ = started(command, worker, lines)
        answer, out, _ = command("runs", "show", run_id.strip(), "--watch")
        assert answer == code
        assert "price" in out
        assert command("runs", "show", run_id.strip(), "--wait", "--json")[0] == code


def test_a_run_may_be_named_by_its_beginning(command: Command, program: str) -> None:
    run_id = started(command, program, [1])[1].strip()
    for typed in (run_id[:14], run_id.replace("-", ""), run_id.upper()):
        assert asked(command, "runs", "show", typed)["id"] == run_id


def test_a_beginning_of_several_runs_asks_for_more(
    command: Command, program: str, dsn: str
) -> None:
    started(command, program, [1])
    with psycopg.connect(dsn) as connection:
        for n in (1, 2):
            connection.execute(
                "select pgflow.start_runs('orders', array['{}'::jsonb], array[%s::uuid],"
                " array[null::text], null)",
                [f"aaaaaaaa-0000-7000-8000-00000000000{n}"],
            )
    code, _, err = command("runs", "show", "aaaaaaaa")
    assert code == Exit.USAGE
    assert "several runs begin with aaaaaaaa" in err
    for n in (1, 2):
        assert f"aaaaaaaa-0000-7000-8000-00000000000{n}" in err


@pytest.mark.parametrize(
    ("typed", "code"),
    [("00000000", 1), ("ffffffff", 1), ("00000000-0000-7000-8000-000000000000", 1), ("abc", 1)],
)
def test_a_run_that_is_not_there(command: Command, typed: str, code: int) -> None:
    for verb in ("show", "cancel", "retry"):
        assert command("runs", verb, typed)[0] == code


def test_cancel_ends_a_run_once(command: Command, program: str) -> None:
    run_id = started(command, program, [1])[1].strip()
    assert command("runs", "cancel", run_id, "--reason", "a mistake")[0] == 0
    code, _, err = command("runs", "cancel", run_id)
    assert code == Exit.FAILED
    assert "it had ended already (cancelled)" in err
    assert asked(command, "runs", "show", run_id)["error_message"] == "a mistake"


def test_retry_lets_a_cancelled_run_go_on(command: Command, worker: str) -> None:
    run_id = started(command, worker, [-1], "--wait", "--json")[1]
    run_id = json.loads(run_id)["id"]
    assert asked(command, "runs", "retry", run_id) == {"id": run_id, "retried": True}
    assert command("runs", "show", run_id, "--wait")[0] == 1
    done = json.loads(started(command, worker, [1], "--wait", "--json")[1])["id"]
    code, _, err = command("runs", "retry", done)
    assert code == Exit.FAILED
    assert "completed" in err
