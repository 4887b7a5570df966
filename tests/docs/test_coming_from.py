"""The pages for those who come from elsewhere name what they know, and what is named is there."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from stepwell import Client, Registry, Run
from stepwell.cli.main import make_app
from stepwell.client.sync.client import SyncClient
from stepwell.worker.starter import Starter
from tests.docs.pages import ROOT, prose_of

PGFLOW = ROOT / "docs" / "how-to" / "coming-from-pgflow.md"
GEN_DURABLE = ROOT / "docs" / "how-to" / "coming-from-gen-durable.md"
SEEDS = ROOT / "tests" / "fixtures" / "seeds"
OURS: dict[str, list[Any]] = {
    "client": [Client, SyncClient],
    "run": [Run],
    "registry": [Registry],
    "starter": [Starter],
}


def functions_in(text: str) -> set[str]:
    """Headings of functions of the Elixir port's documents, in both of their forms."""
    return set(re.findall(r"^# `([a-z_]+[?!]?)`$", text, re.M)) | set(
        re.findall(r"^@spec ([a-z_]+[?!]?)\(", text, re.M)
    )


@pytest.mark.parametrize("seed", sorted(SEEDS.glob("*.txt")), ids=lambda path: path.stem[:3])
def test_every_function_of_their_documents_is_named(seed: Path) -> None:
    page = prose_of(PGFLOW)
    names = {name.rstrip("!") for name in functions_in(seed.read_text())}
    assert [
        name for name in sorted(names) if not re.search(rf"`[^`]*\b{re.escape(name)}", page)
    ] == []


def test_every_module_of_their_machines_is_named() -> None:
    [seed] = [path for path in SEEDS.glob("*.txt") if "gen_durable" in path.read_text()[:40]]
    modules = set(re.findall(r"\[(GenDurable[\w.]*)\]\(", seed.read_text()))
    assert len(modules) > 10
    page = prose_of(GEN_DURABLE)
    unnamed = {
        name for name in modules if name not in page and name.replace("GenDurable.", "") not in page
    }
    assert unnamed == set()


@pytest.mark.parametrize("page", [PGFLOW, GEN_DURABLE], ids=lambda path: path.stem)
def test_what_is_named_of_ours_is_there(page: Path) -> None:
    named = re.findall(r"\b(client|run|registry|starter)\.([a-z_]+)\b", prose_of(page))
    ours = {(owner, name) for owner, name in named if not (owner == "run" and name == "on")}
    assert len(ours) > 5
    for owner, name in sorted(ours):
        for cls in OURS[owner]:
            assert inspect.getattr_static(cls, name, None) or name in fields(cls), f"{owner}.{name}"


def fields(cls: type[Any]) -> set[str]:
    """What instances have, where a class does not say it itself."""
    return {name for each in cls.__mro__ for name in getattr(each, "__annotations__", {})}


def test_the_commands_that_they_are_sent_to_exist() -> None:
    app = make_app()
    for page in (PGFLOW, GEN_DURABLE):
        for command in re.findall(r"`stepwell ([a-z-]+)", prose_of(page)):
            assert command in list(app), command
