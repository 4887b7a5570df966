"""What bodies leave behind outside of the engine: lines in a file, which outlive their process, and
locks of the kernel, which end with it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from stepwell import Context

_log = -1
_rooms = Path()


def open_at(log: Path) -> None:
    """For the process that runs the bodies."""
    global _log, _rooms
    _log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    _rooms = rooms_of(log)


def rooms_of(log: Path) -> Path:
    return log.with_name("rooms")


def write(*words: object) -> None:
    """One short write to a file opened for appending is whole or absent."""
    os.write(_log, (" ".join(map(str, words)) + "\n").encode())


def is_first(name: str) -> bool:
    """Whether nobody asked that of this name before, in whatever process."""
    with suppress(FileExistsError):
        os.close(os.open(_rooms / quote(name, safe=""), os.O_CREAT | os.O_EXCL))
        return True
    return False


def note(ctx: Context) -> None:
    """That a step of a flow ran."""
    write(ctx.run_id, ctx.step, ctx.task_index, os.getpid(), ctx.worker_id)


@contextmanager
def room(name: str, places: int = 1) -> Generator[None]:
    """Be one of those whom a limit lets in, and say `in NAME PLACE`. Where all places are taken
    it says `crowded NAME PID`: the limit let in one too many."""
    path = _rooms / quote(name, safe="")
    with locked(path.with_suffix(".door")):  # or somebody might change places while we look
        seat, place = _sit_down(path, places)
    write("crowded", name, os.getpid()) if seat is None else write("in", name, place)
    try:
        yield
    finally:
        if seat is not None:
            seat.close()


@contextmanager
def locked(path: Path) -> Generator[None]:
    with closing(path.open("wb")) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sit_down(path: Path, places: int) -> tuple[IO[bytes] | None, int]:
    for place in range(places):
        seat = path.with_suffix(f".{place}").open("wb")
        try:
            fcntl.flock(seat, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return seat, place
        except BlockingIOError:
            seat.close()
    return None, places
