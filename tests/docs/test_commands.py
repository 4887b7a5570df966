"""Every command on a page is one that the command line knows; those of the README are run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from stepwell.cli.main import make_app
from tests.docs.pages import (
    README,
    ROOT,
    all_pages,
    commands_in_prose,
    commands_of,
    name_of,
)
from tools.commands import option_names

RUN_PY = {"demo", "test", "install", "pytest", "ruff", "pyright", "lint-imports", "stepwell"}


@pytest.mark.parametrize("page", [p for p in all_pages() if commands_of(p)], ids=name_of)
def test_the_command_line_understands_every_command(page: Path) -> None:
    for words in commands_of(page):
        try:
            make_app().parse_args(words, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            pytest.fail(f"{name_of(page)}: stepwell {' '.join(words)}: {error}")


@pytest.mark.parametrize("page", [p for p in all_pages() if commands_in_prose(p)], ids=name_of)
def test_commands_in_the_text_exist(page: Path) -> None:
    app = make_app()
    for words in commands_in_prose(page):
        chain, apps, _ = app.parse_commands(words)
        assert chain, f"{name_of(page)}: there is no command `stepwell {' '.join(words)}`"
        known = {name for argument in option_names(apps[-1]) for name in argument}
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"{name_of(page)}: {words}"


def test_the_readme_names_tools_that_run_py_has() -> None:
    words = [line.split() for line in README.read_text().splitlines()]
    tools = [line[2] for line in words if line[:2] == ["python3", "run.py"]]
    assert {"demo", "test"} <= set(tools) <= RUN_PY


@pytest.mark.timeout(200)
def test_the_commands_of_the_readme_do_what_it_shows(dsn: str) -> None:
    dev, start = commands_of(README)
    assert dev[0] == "dev" and start[0] == "start"
    with running(dev, dsn):
        printed = until_it_works(start, dsn)
    shown = README.read_text().partition("    {\n")[2].partition("    }\n")[0]
    assert json.loads(printed) == json.loads("{" + shown + "}")


@pytest.mark.timeout(200)
def test_the_demo_shows_what_the_readme_shows(dsn: str) -> None:
    done = stepwell(["demo", "--dsn", dsn], dsn)
    assert done.returncode == 0, done.stderr
    readme = README.read_text()
    for words in ("embed[2] attempt 1 failed", "publish skipped", "run completed", '"parcels":'):
        assert words in done.stdout
    for step in ("scrape", "summarize", "chunks", "embed", "publish", "condition unmet"):
        assert step in readme


@contextmanager
def running(words: list[str], dsn: str) -> Generator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stepwell", *words],
        cwd=ROOT,
        env=environment(dsn),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def until_it_works(words: list[str], dsn: str) -> str:
    """The flow is there as soon as the worker of the other terminal has deployed it."""
    end = time.monotonic() + 60
    while True:
        done = stepwell(words, dsn)
        if done.returncode == 0:
            return done.stdout
        assert time.monotonic() < end, done.stderr
        time.sleep(0.2)


def stepwell(words: list[str], dsn: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stepwell", *words],
        cwd=ROOT,
        env=environment(dsn),
        capture_output=True,
        text=True,
        timeout=80,
    )


def environment(dsn: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if k == "STEPWELL_HOME" or "STEPWELL" not in k}
    return {**clean, "DATABASE_URL": dsn}
