"""What the tests of the command line share: programs to run, and a worker beside the test."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stepwell.define.app import Stepwell
from stepwell.observe.emit import subscribed
from stepwell.observe.events import Event, WorkerStarted
from stepwell.settings import Settings
from stepwell.worker.worker import Worker

Answer = tuple[int, str, str]  # exit code, stdout, stderr
Command = Callable[..., Answer]
PATIENCE = 60.0  # seconds; a machine under load starts a Python slowly
_number = itertools.count()


def asked(command: Command, *words: str) -> Any:
    """What a command answers with --json."""
    code, out, err = command(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def write_program(folder: Path, text: str) -> str:
    """A file whose module name is its own: Python keeps what it has imported."""
    path = folder / f"program_{os.getpid()}_{next(_number)}.py"
    path.write_text(text)
    return str(path)


@contextmanager
def working(app: Stepwell, dsn: str) -> Generator[None]:
    """A worker in a thread with a loop of its own."""
    started = threading.Event()
    stops: list[Callable[[], object]] = []

    def note(event: Event) -> None:
        if isinstance(event, WorkerStarted):
            started.set()

    async def serve() -> None:
        worker = Worker(app, Settings(dsn=dsn, grace=1, poll=0.2))
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(worker.stop))
        with subscribed(note):
            await worker.run()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        while not started.wait(0.05):
            assert thread.is_alive(), "the worker ended at once"
        yield
    finally:
        for stop in stops:
            stop()
        thread.join(PATIENCE)


class Program:
    """A command in a process of its own; what it prints is read as it comes."""

    def __init__(self, *arguments: str, environment: Mapping[str, str], cwd: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stepwell", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(environment),
            cwd=cwd,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, word: str, times: int = 1) -> str:
        """The line with that word, once it was said so many times."""

        def said() -> list[str]:
            return [line for line in self.lines if word in line]

        with self._news:
            if not self._news.wait_for(lambda: len(said()) >= times, PATIENCE):
                raise AssertionError(f"never said {word!r} {times} times:\n" + "".join(self.lines))
            return said()[times - 1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        if self.process.stdout:
            self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()


def shared_home() -> Path:
    """One embedded server for all tests that bring one up; conftest stops and removes it."""
    return Path(os.environ["STEPWELL_TEST_HOME"]) / "cli"


def environment(home: Path, **more: str) -> dict[str, str]:
    """The variables of this process without those that name a database."""
    ours = ("STEPWELL_", "DATABASE_URL", "PG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "STEPWELL_HOME": str(home), "PYTHONUNBUFFERED": "1", **more}
