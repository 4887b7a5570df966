"""`stepwell runs cancel|retry|restart|delete` of all runs that fit."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from stepwell.cli.exits import Exit

from .cli_programs import Command, asked, write_program

pytestmark = pytest.mark.timeout(120)
PROGRAM = """
from stepwell import Flow, Stepwell

flows = [Flow("orders"), Flow("letters")]
for flow in flows:
    @flow.step
    def ship(flow_input: int) -> int:
        return flow_input

app = Stepwell(flows=flows)
"""


def states(command: Command, *words: str) -> list[tuple[str, str]]:
    found = asked(command, "runs", "list", *words)
    return sorted((each["key"], each["status"]) for each in found)


def test_runs_are_steered_by_what_they_are(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_program(tmp_path, PROGRAM)
    for key, flow, tag in (("a", "orders", "vip"), ("b", "orders", "x"), ("c", "letters", "vip")):
        words = ("start", f"{path}:{flow}", "--input", "1", "--key", key, "--tag", tag)
        assert command(*words)[0] == Exit.OK

    both = command("runs", "cancel", "a", "--flow", "orders", "--yes")
    none = command("runs", "cancel", "--yes")
    assert both[0] == none[0] == Exit.USAGE
    assert "name a run to cancel, or say which ones" in both[2]

    code, out, _ = command("runs", "cancel", "--tag", "vip", "--dry-run")
    assert (code, len(out.splitlines())) == (Exit.OK, 3)  # one is the head
    code, _, err = command("runs", "cancel", "--tag", "vip")
    assert code == Exit.USAGE
    assert "this would cancel 2 runs: say --yes, or --dry-run" in err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    code, out, err = command("runs", "cancel", "--tag", "vip")
    assert (code, "nothing was done" in err) == (Exit.FAILED, True)
    assert {status for _, status in states(command)} == {"started"}
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    code, out, _ = command("runs", "cancel", "--tag", "vip", "--reason", "closed")
    assert code == Exit.OK
    assert out.count("cancelled ") == 2
    assert states(command) == [("a", "cancelled"), ("b", "started"), ("c", "cancelled")]

    # the key of one is taken meanwhile: that keeps nobody else from going on
    assert command("start", "orders", "--input", "1", "--key", "a")[0] == Exit.OK
    code, out, err = command("runs", "retry", "--tag", "vip", "--yes")
    assert code == Exit.FAILED
    assert out.count("retried ") == 1
    assert "the key 'a' of run" in err
    done = asked(command, "runs", "cancel", "--flow", "orders", "--flow", "letters", "--yes")
    assert [each["cancelled"] for each in done] == [True] * 3
    assert command("runs", "cancel", "--flow", "orders", "--yes")[2].strip() == "no such runs"
    assert asked(command, "runs", "cancel", "--flow", "orders", "--yes") == []

    again = asked(command, "runs", "restart", "--flow", "letters", "--yes")
    assert {"id", "restarted", "new_id"} == again[0].keys()
    code, out, _ = command("runs", "delete", "--since", "1h", "--limit", "2", "--yes")
    assert (code, out.count("deleted ")) == (Exit.OK, 2)
    assert command("runs", "delete", "--since", "1h", "--yes")[0] == Exit.OK
    left = asked(command, "runs", "list")
    assert [(each["id"], each["status"]) for each in left] == [(again[0]["new_id"], "started")]


class Terminal(io.StringIO):
    """Somebody sits before it."""

    def isatty(self) -> bool:
        return True
