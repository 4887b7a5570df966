"""Run a child process, and run it anew whenever a Python file below a folder changes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

_SKIPPED = {"__pycache__", "node_modules", "site-packages"}

Snapshot = Mapping[str, tuple[int, int]]
Say = Callable[[str], None]


def python_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every .py file below, but not in hidden folders, virtual environments or installed code."""
    folders = [str(folder)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            found = list(entries)
            if any(entry.name == "pyvenv.cfg" for entry in found):
                continue
            for entry in found:
                if entry.name.startswith(".") or entry.name in _SKIPPED:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(".py"):
                    yield entry


def snapshot(folder: Path) -> Snapshot:
    """What the files look like now: time of change and size by path."""
    seen: dict[str, tuple[int, int]] = {}
    for entry in python_files(folder):
        with suppress(OSError):  # removed since
            found = entry.stat()
            seen[entry.path] = (found.st_mtime_ns, found.st_size)
    return seen


def changed(before: Snapshot, after: Snapshot) -> list[str]:
    """The paths that were written, made or removed in between."""
    return sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))


@dataclass
class Reloader:
    """One child at a time. `stop()`, from a signal handler too, ends it; a second `stop()` hurries:
    a child is told once for a change of the code or the first of them, whoever comes first.

    The child leads a process group of its own, so a Ctrl-C reaches it through us, once; its stdin
    is a pipe that closes with us, so that it learns of our death even by SIGKILL.
    """

    command: Sequence[str]
    folder: Path
    say: Say
    environment: Mapping[str, str] | None = None
    interval: float = 0.25  # seconds between two looks at the files
    patience: float = 10.0  # seconds a stopping child gets
    retry_codes: frozenset[int] = frozenset()  # exits that may mend themselves: tried again
    retry_pause: float = 2.0
    _stop: Event = field(default_factory=Event, init=False)
    _child: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _untold: list[subprocess.Popen[bytes]] = field(
        default_factory=list[subprocess.Popen[bytes]], init=False
    )

    def run(self) -> int:
        """Run until stopped; the exit code of the last child, 0 if it left as told."""
        code = 0
        while not self._stop.is_set():
            before = snapshot(self.folder)
            child = self._start()
            self._watch(child, before)
            code = self._end(child)
        return max(code, 0)  # below: a signal of ours came before the child listened

    def stop(self) -> None:
        """Signals the child; a second call makes it leave at once."""
        again = self._stop.is_set()
        self._stop.set()
        if again and self._child is not None:
            _signal(self._child, signal.SIGTERM)
        else:
            self._tell()

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, env=self.environment, process_group=0
        )
        self._untold = [child]
        self._child = child
        if self._stop.is_set():  # told in between
            self._tell()
        return child

    def _tell(self) -> None:
        """A stop may come between any two lines here; taking from a list happens once."""
        with suppress(IndexError):
            _signal(self._untold.pop(), signal.SIGTERM)

    def _watch(self, child: subprocess.Popen[bytes], before: Snapshot) -> None:
        """Return when a file changed, the child should be tried again, or we are stopped."""
        told, ended = False, 0.0
        while not self._stop.wait(self.interval):
            if paths := changed(before, snapshot(self.folder)):
                self._settle()
                self.say(f"{self._names(paths)} changed: starting again")
                return
            if child.poll() is None:
                continue
            if not told:
                told, ended = True, time.monotonic()
                if child.returncode not in self.retry_codes:
                    self.say("waiting for a change of the code")
            if child.returncode in self.retry_codes and self._paused(ended):
                return

    def _settle(self) -> None:
        """An editor may still be writing; wait until two looks agree."""
        before = snapshot(self.folder)
        while not self._stop.wait(self.interval / 2):
            after = snapshot(self.folder)
            if after == before:
                return
            before = after

    def _end(self, child: subprocess.Popen[bytes]) -> int:
        self._tell()  # if nobody did: a second signal would hurry it
        try:
            return child.wait(self.patience)
        except subprocess.TimeoutExpired:
            self.say("the worker did not stop in time: killing it (its tasks run again)")
            child.kill()
            return child.wait()
        finally:
            if child.stdin:
                child.stdin.close()

    def _paused(self, since: float) -> bool:
        return time.monotonic() - since > self.retry_pause

    def _names(self, paths: Sequence[str]) -> str:
        first = os.path.relpath(paths[0], self.folder)
        return first if len(paths) == 1 else f"{first} and {len(paths) - 1} more"


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if child.poll() is None:
            child.send_signal(number)
