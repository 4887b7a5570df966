"""run.py and the lock: what they promise to a fresh clone."""

import importlib.util
import itertools
import os
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture
def run(tmp_path: Path) -> ModuleType:
    """run.py as it would be in a clone of its own, with an environment that somebody made."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    names = {"ROOT": tmp_path, "VENV": venv, "BIN": venv / "bin"}
    names |= {"PYTHON": venv / "bin" / "python", "STATE": venv / ".stepwell"}
    for name, value in names.items():
        setattr(module, name, value)
    for name in ("pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    module.__dict__["LOCK"] = tmp_path / "requirements.lock"
    return module


def test_an_environment_of_ones_own_is_used(run: ModuleType) -> None:
    assert run.is_usable()


def test_a_half_made_environment_is_not_used(run: ModuleType) -> None:
    run.begin()
    assert not run.is_usable()
    run.discard()
    assert not run.VENV.exists()
    assert [path.name for path in run.ROOT.glob(".venv*")] == []


def test_a_moved_environment_is_not_used(run: ModuleType) -> None:
    run.STATE.write_text(run.fingerprint().replace(str(run.ROOT), "/elsewhere"))
    assert not run.is_usable()


def test_it_is_ready_until_the_lock_changes(run: ModuleType) -> None:
    run.STATE.write_text(run.fingerprint())
    assert run.is_ready(run.fingerprint())
    run.LOCK.write_text("changed")
    assert not run.is_ready(run.fingerprint())
    assert run.is_usable()


def test_a_python_without_venv_is_told_what_to_install(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(_: str) -> None:
        """As on a Debian without python3-venv."""

    monkeypatch.setattr(importlib.util, "find_spec", find_nothing)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="python3-venv"):
        run.require_venv_module()


def test_the_lock_has_hashes_and_names_no_host() -> None:
    pins = re.findall(r"^(\S+)==\S+", LOCK, re.MULTILINE)
    assert len(pins) == len(set(pins)) > 10
    assert len(re.findall(r"--hash=sha256:", LOCK)) >= len(pins)
    assert not re.search(r"https?:|file:|--index|--find-links| @ ", LOCK)


def test_the_lock_has_every_dependency_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    wanted: list[str] = [*project["dependencies"], *itertools.chain(*extras.values())]
    names = {re.split(r"[\[<>=;~!]", each)[0].strip() for each in wanted} - {"stepwell"}
    assert {name for name in names if f"\n{name}==" not in f"\n{LOCK}"} == set()
