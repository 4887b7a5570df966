"""`stepwell flows upsert` and `delete`: flows from data on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepwell.cli.exits import Exit

from .cli_programs import Command

STEPS = '[{"slug": "reshape"}]'
MORE = '{"steps": [{"slug": "reshape"}, {"slug": "create", "deps": ["reshape"]}], "timeout": 9}'


def test_a_flow_is_made_changed_and_deleted(command: Command, tmp_path: Path) -> None:
    assert command("flows", "upsert", "acct_1", STEPS) == (0, "compiled acct_1, version 1\n", "")
    assert command("flows", "upsert", "acct_1", STEPS)[1] == "verified acct_1, version 1\n"
    assert command("start", "acct_1")[0] == Exit.OK
    (tmp_path / "flow.json").write_text(MORE)
    _, out, _ = command("flows", "upsert", "acct_1", "@flow.json")
    assert out.splitlines() == [
        "recompiled acct_1, version 2",
        "  step 'create' is new, depends on 'reshape'",
    ]
    code, _, err = command("flows", "delete", "acct_1")
    assert code == Exit.USAGE
    assert "this deletes acct_1 with all its runs (1)" in err
    assert command("flows", "delete", "acct_1", "--yes", "--actor", "ann")[1] == "deleted acct_1\n"
    for words in ((), ("--yes",)):
        code, _, err = command("flows", "delete", "acct_1", *words)
        assert (code, "there is none by this name" in err) == (Exit.FAILED, True)
    [last, *_] = json.loads(command("audit", "--json")[1])
    assert (last["actor"], last["action"], last["target"]) == ("ann", "delete", "acct_1")


def test_scripts_read_what_became_of_it(command: Command) -> None:
    for words, status in (((), "compiled"), ((), "verified"), (("--replace",), "recompiled")):
        _, out, _ = command("flows", "upsert", "acct_1", MORE, *words, "--json")
        assert json.loads(out) == {"status": status, "differences": [], "version": 1}
    assert json.loads(command("flows", "delete", "acct_1", "--yes", "--json")[1])["deleted"]


@pytest.mark.parametrize(
    ("slug", "data", "words"),
    [
        ("acct_1", "{steps: []}", "the data: "),
        ("acct_1", "7", "the data is an object"),
        ("acct_1", '{"replace": true, "steps": []}', "the data is an object"),
        ("acct_1", "{}", "it needs steps"),
        ("acct_1", '[{"slug": "a", "deps": ["b"]}]', "(unknown_dependency)"),
        ("acct_1", '{"steps": [{"slug": "a"}], "retries": 1}', "(unknown_option)"),
        ("acct-1", STEPS, "(invalid_slug)"),
        ("acct_1", "@nowhere.json", "nowhere.json cannot be read"),
    ],
)
def test_what_can_be_no_flow_is_wrong_usage(
    command: Command, slug: str, data: str, words: str
) -> None:
    code, out, err = command("flows", "upsert", slug, data)
    assert (code, out) == (Exit.USAGE, "")
    assert words in err
    assert "nothing is deployed" in command("flows", "list")[2]
