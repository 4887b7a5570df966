"""File locks: the kernel drops them with the process that holds them, however it ends."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from stepwell.errors import EmbeddedError


def acquire(path: Path, kind: int, timeout: float) -> int | None:
    """Hold the file until the descriptor is closed; None if others hold it for longer."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    end = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= end:
                    break
                time.sleep(0.02)
            except OSError as error:
                raise _no_locks(path) from error
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def shared(path: Path, timeout: float) -> int:
    descriptor = acquire(path, fcntl.LOCK_SH, timeout)
    if descriptor is None:
        raise EmbeddedError(f"the server is still stopping after {timeout} s ({path})")
    return descriptor


@contextmanager
def exclusive(path: Path, timeout: float) -> Generator[None]:
    descriptor = acquire(path, fcntl.LOCK_EX, timeout)
    if descriptor is None:
        raise EmbeddedError(f"another process is starting the server since {timeout} s ({path})")
    try:
        second = acquire(path, fcntl.LOCK_EX, 0)
        if second is not None:  # granted twice, as network file systems do
            os.close(second)
            raise _no_locks(path)
        yield
    finally:
        os.close(descriptor)


def _no_locks(path: Path) -> EmbeddedError:
    return EmbeddedError(
        f"file locks do not work in {path.parent} (a network file system?): "
        "set STEPWELL_HOME to a local directory, or DATABASE_URL to a server of yours"
    )
