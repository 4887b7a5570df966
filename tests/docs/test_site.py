"""The docs build without a warning, and what is generated in them is what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import stepwell
import stepwell.testing
from tests.docs.pages import ROOT
from tools.reference import PAGES, REFERENCE, page


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    assert (tmp_path / "reference" / "api.html").is_file()
    assert "<td><code>--from-step</code></td>" in (tmp_path / "reference" / "cli.html").read_text()


def test_every_page_is_in_the_navigation_once() -> None:
    docs = ROOT / "docs"
    named = re.findall(r"^ *- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(named) == sorted(str(found.relative_to(docs)) for found in docs.rglob("*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_what_is_generated_is_current(name: str) -> None:
    is_current = (REFERENCE / name).read_text() == page(name)
    assert is_current, "run: python -m tools.reference"


def test_every_public_name_is_described() -> None:
    parts = page("api.md").split("\n### ")[1:]
    names = [part.split("`")[1] for part in parts]
    silent = r"^\*\*`(.*?)`\*\*\n\n```text\n[^`]*```\n\n(?=\*\*|#|\Z)"
    assert re.findall(silent, page("api.md"), re.M) == []  # a method that says nothing
    assert {*stepwell.__all__, *stepwell.testing.__all__} - {"__version__"} <= set(names)
    assert len(set(names)) == len(names)
    assert [name for name, part in zip(names, parts, strict=True) if part.count("\n") < 2] == []
