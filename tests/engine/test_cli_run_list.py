"""`stepwell runs list` with its filters, and `runs label`."""

from __future__ import annotations

import json

import pytest

from stepwell import Client
from stepwell.cli.exits import Exit

from .cli_programs import Command
from .client_hands import single

orders, others = single(), single("others")


@pytest.fixture
def runs(dsn: str) -> list[str]:
    with Client.sync(dsn) as client:
        started = [
            client.start(orders, 1, key="o:1", tags=["vip", "eu"], metadata={"shop": {"id": 7}}),
            client.start("others" if client.flow_exists("others") else others, 2, tags=["vip"]),
            client.start(orders, 3, delay=60),
        ]
    return [str(run.id) for run in started]


def test_runs_are_listed_by_what_they_are(command: Command, runs: list[str]) -> None:
    def listed(*words: str) -> list[int]:
        code, out, err = command("runs", "list", *words, "--json")
        assert code == Exit.OK, err
        return [runs.index(run["id"]) for run in json.loads(out)]

    for words, found in (
        ([], [2, 1, 0]),
        (["--flow", "orders", "--flow", "others", "--limit", "2"], [2, 1]),
        (["--flow", "others"], [1]),
        (["--status", "failed", "--status", "started", "--kind", "flow"], [2, 1, 0]),
        (["--status", "failed", "--status", "cancelled"], []),
        (["--tag", "vip"], [1, 0]),
        (["--tag", "vip", "--tag", "eu"], [0]),
        (["--key", "o:1"], [0]),
        (["--key-prefix", "o:"], [0]),
        (["--schedule", "nightly"], []),
        (["--parent", runs[0]], []),
        (["--metadata", "shop.id=7"], [0]),
        (["--metadata", "shop.id=x"], []),
        (["--input", "a=1"], []),
        (["--since", "1h", "--until", "2100-01-01"], [2, 1, 0]),
        (["--since", "2100-01-01T00:00+01:00"], []),
        (["--ended-since", "7d"], []),
        (["--before", runs[2], "--limit", "1"], [1]),
        (["--after", runs[0], "--limit", "1"], [1]),
    ):
        assert listed(*words) == found, words
    code, out, err = command("runs", "list", "--limit", "2")
    assert (code, "#vip" in out, "orders v1" in out) == (Exit.OK, True, True)
    assert f"there may be more: add --before {runs[1]}" in err
    assert "no such runs" in command("runs", "list", "--tag", "none")[2]
    for nothing in ("oders", "no slug!"):
        code, _, err = command(
            "runs", "list", "--flow", nothing, "--flow", "orders", "--tag", "none"
        )
        assert code == Exit.OK
        assert f"nothing is called {nothing!r} in this database" in err
        assert "'orders'" not in err
    for wrong in (["--since", "soon"], ["--input", "seven"], ["--tag", ""]):
        assert command("runs", "list", *wrong)[0] in (Exit.USAGE, Exit.FAILED)


def test_labels_are_changed(command: Command, runs: list[str]) -> None:
    words = ("--tag", "new", "--remove", "eu", "--metadata", "shop=null", "--metadata", "n=1")
    code, out, _ = command("runs", "label", "o:1", *words, "--actor", "ann", "--json")
    assert (code, json.loads(out)) == (Exit.OK, {"tags": ["vip", "new"], "metadata": {"n": 1}})
    shown = command("runs", "show", "o:1")[1]
    assert "vip, new" in shown
    assert '{"n":1}' in shown.replace(" ", "")
    assert command("runs", "label", runs[1])[1] == "vip\n"
    assert "no tags" in command("runs", "label", runs[2])[1]
    assert command("runs", "label", "nobody")[0] == Exit.FAILED


def test_runs_are_started_with_labels(command: Command, runs: list[str]) -> None:
    words = ("start", "orders", "--input", "1", "--tag", "cli", "--metadata", "shop=x=1", "--json")
    code, out, _ = command(*words)
    assert code == Exit.OK
    [run] = json.loads(command("runs", "list", "--tag", "cli", "--json")[1])
    assert (run["id"], run["metadata"]) == (json.loads(out)["id"], {"shop": "x=1"})
