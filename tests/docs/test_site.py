"""The docs build without a warning, and what is generated in them is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tools.reference import PAGES, REFERENCE


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    assert (tmp_path / "reference" / "api.html").is_file()


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name: str) -> None:
    is_current = (REFERENCE / name).read_text() == PAGES[name]()
    assert is_current, "run: python -m tools.reference"


def test_every_public_name_is_described() -> None:
    page = PAGES["api.md"]()
    empty = [part.split("`")[1] for part in page.split("\n### ")[1:] if part.count("\n") < 2]
    assert empty == []
