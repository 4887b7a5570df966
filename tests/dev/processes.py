"""Processes that use an embedded server, to be killed and watched."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

USE = """
import sys
from pathlib import Path
from stepwell.dev.postgres import EmbeddedPostgres
from stepwell.errors import EmbeddedError
try:
    EmbeddedPostgres(Path(sys.argv[1])).start(keep="keep" in sys.argv)
except EmbeddedError as error:
    print("refused:", error, flush=True)
else:
    print("ready", flush=True)
    sys.stdin.read()
"""


class Processes:
    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, home: Path, *arguments: str, before: tuple[str, ...] = (), **options: Any
    ) -> subprocess.Popen[str]:
        """A process that starts the server in `home`, says so, and stays until its stdin ends."""
        python = options.pop("executable", sys.executable)
        process = subprocess.Popen(
            [*before, python, "-c", USE, str(home), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            **options,
        )
        self._started.append(process)
        return process

    def sleep(self, as_owner_of: Path) -> subprocess.Popen[str]:
        """A process that does nothing, of the account that owns the directory."""
        user = as_owner_of.stat().st_uid if os.geteuid() == 0 else None
        process = subprocess.Popen(["sleep", "60"], user=user, text=True, cwd="/")
        self._started.append(process)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._started:
            process.kill()
            process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    return line if line == "ready" or line.startswith("refused:") else line + process.stdout.read()


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate()


def watcher_of(home: Path) -> int | None:
    """The process that runs watch.py for this home."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(home) in command and any(part.endswith(b"watch.py") for part in command):
            return int(entry.parent.name)
    return None


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def eventually(condition: Callable[[], bool], patience: float = 15) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def python_for(account: str) -> str | None:
    """A Python that this account may run; root's own is often in a private home."""
    for python in (sys.executable, "/usr/bin/python3"):
        test = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            ended = subprocess.run(test, user=account, extra_groups=[], cwd="/")
        except OSError:
            continue
        if ended.returncode == 0:
            return python
    return None
