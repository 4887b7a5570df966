"""pyright and mypy find the errors that are expected in the files here, and no others.

What must be an error carries `# pyright: ignore[...]`: pyright tells of one that is not needed, and
mypy, which knows nothing of these comments, has an error of its own in just these lines. Where only
mypy finds one there is `# mypy: error`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted(HERE.glob("*_types.py"))
EXPECTED = re.compile(r"# (?:pyright: ignore|mypy: error)")

pytestmark = pytest.mark.timeout(300)


def checked(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words, *map(str, FILES)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_pyright_finds_what_is_expected() -> None:
    for path in FILES:
        assert "# pyright: reportUnnecessaryTypeIgnoreComment=true" in path.read_text()
    ran = checked("pyright", "--pythonpath", sys.executable)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_mypy_finds_what_is_expected(tmp_path: Path) -> None:
    settings = ["--strict", "--cache-dir", str(tmp_path), "--no-error-summary"]
    # bodies are `...` here, and what a machine's step answers with is inferred, by those who can
    allowed = ["--disable-error-code=empty-body", "--disable-error-code=no-untyped-def"]
    ran = checked("mypy", *settings, *allowed)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    said = re.findall(r"^(.+?\.py):(\d+): error: (.*)$", ran.stdout, re.M)
    found = {(Path(name).name, int(line)): what for name, line, what in said}
    expected = {
        (path.name, number)
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if EXPECTED.search(line)
    }
    assert expected
    assert {place: what for place, what in found.items() if place not in expected} == {}
    assert expected - found.keys() == set(), "mypy has nothing against these"
