"""Worker processes to be killed, and what their bodies left in the log."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from .journal import rooms_of

PATIENCE = 60.0
ROOT = Path(__file__).parents[2]


class Body(NamedTuple):
    """One execution of a handler."""

    run_id: str
    step: str
    task_index: str
    pid: str
    worker_id: str


class Member:
    """One worker process."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> list[str]:
        return self._output.read_text().split("\n")[:-1]

    async def says(self, word: str, times: int = 1) -> None:
        await until(lambda: self.said().count(word) >= times, lambda: "\n".join(self.said()))

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def resume(self) -> None:
        """Let a paused process go on, if it was not killed meanwhile."""
        with suppress(ProcessLookupError):
            self.kill(signal.SIGCONT)

    async def ended(self, patience: float = PATIENCE) -> int:
        """Its exit code, once it has ended."""
        await until(lambda: self.process.poll() is not None, lambda: "it lives", patience)
        return self.process.wait()


class Crew:
    """Starts members; none outlives the test."""

    def __init__(self, dsn: str, folder: Path, app: str = "tests.chaos.program:app") -> None:
        self._dsn = dsn
        self._folder = folder
        self._app = app
        self._number = itertools.count()
        self.log = folder / "bodies"
        self.log.touch()
        rooms_of(self.log).mkdir()
        self.members: list[Member] = []
        self._everybody: list[Member] = []

    def start(self, app: str | None = None, **settings: Any) -> Member:
        knobs = {"dsn": self._dsn, "lease": 3.0, "grace": 5.0, "poll": 0.5, **settings}
        return self.launch("tests.chaos.member", json.dumps(knobs), str(self.log), app or self._app)

    def launch(self, *program: str) -> Member:
        """A module of ours as a process, with its arguments."""
        output = self._folder / f"member-{next(self._number)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *program],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        member = Member(process, output)
        self.members.append(member)
        self._everybody.append(member)
        return member

    def replace(self, member: Member, **settings: Any) -> Member:
        """Kill one, as a cut of power would, and start another."""
        member.kill()
        member.process.wait()
        self.members.remove(member)
        return self.start(**settings)

    def at_work(self) -> list[Member]:
        """Those that have begun to serve; a machine that is busy lets them take their time."""
        return [member for member in self.members if "WorkerStarted" in member.said()]

    def heard(self, word: str) -> int:
        """How often any of them said so, the dead too."""
        return sum(member.said().count(word) for member in self._everybody)

    def broken(self) -> list[str]:
        """What those said at last who ended by themselves."""
        ended = [member for member in self._everybody if member.process.poll() not in (None, -9)]
        return ["\n".join(member.said()[-20:]) for member in ended]

    def bodies(self) -> list[Body]:
        return [Body(*words) for words in self.wrote()]

    def wrote(self, word: str = "") -> list[list[str]]:
        """The lines of all bodies, those that begin with this word, as words."""
        lines = self.log.read_text().split("\n")[:-1]
        return [line.split(" ") for line in lines if line.startswith(word)]

    def repeats(self) -> int:
        """How many bodies ran again."""
        counts = Counter(body[:3] for body in self.bodies())
        return sum(count - 1 for count in counts.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in self.members:
            member.process.kill()
            member.process.wait()
            if error is not None:
                print(f"--- {member.pid} said", *member.said()[-20:], sep="\n")


async def until(
    condition: Callable[[], bool], says: Callable[[], str], patience: float = PATIENCE
) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, says()
        await asyncio.sleep(0.02)
