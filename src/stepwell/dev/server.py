"""The server process on one data directory: is it there, start it, stop it."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stepwell.dev.owner import Owner
from stepwell.dev.programs import Programs
from stepwell.errors import EmbeddedError

_RECOVERY = 300  # seconds; after a crash the server may replay for long
_LEAVING = 20  # seconds; processes of a killed server hold its memory until they notice


@dataclass(frozen=True, slots=True)
class Server:
    owner: Owner
    programs: Programs
    data: Path
    socket: Path

    @property
    def log(self) -> Path:
        return self.data / "server.log"

    def pid(self) -> int | None:
        return postmaster(self.data)

    def is_serving(self, patience: float = 60) -> bool:
        """A process is not enough: it may be starting or dying, so ask it."""
        end = time.monotonic() + patience
        ask = (self.programs["pg_isready"], "-h", self.socket, "-p", "5432", "-q", "-t", "3")
        while self.pid() is not None:
            code, _ = self.owner.run(*ask)
            if code == 0 and self.pid() is not None:
                return True
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        return False

    def start(self) -> None:
        self._forget_the_dead()
        self.owner.make_private(self.socket)
        command = (self.programs["pg_ctl"], "-D", self.data, "-w", "-t", str(_RECOVERY), "-s")
        end = time.monotonic() + _LEAVING
        while True:
            code, output = self.owner.run(*command, "-l", self.log, "start", timeout=_RECOVERY + 10)
            if code == 0:
                break
            reason = self._end_of_log()
            if "in use" not in reason[-500:] or time.monotonic() > end:
                raise EmbeddedError(f"Postgres did not start: {output}\n{reason}")
            time.sleep(0.25)
        self._create_database()

    def stop(self, timeout: float) -> None:
        command = (self.programs["pg_ctl"], "-D", self.data, "-m", "fast", "-w", "-s")
        if self.pid() is not None:
            code, output = self.owner.run(
                *command, "-t", str(max(1, round(timeout))), "stop", timeout=timeout + 10
            )
            if code != 0 and self.pid() is not None:
                raise EmbeddedError(f"Postgres did not stop within {timeout} s: {output}")

    def _create_database(self) -> None:
        done = self.data / "stepwell.created"
        if done.exists():
            return
        code, output = self.owner.run(
            *(self.programs["createdb"], "-h", self.socket, "-p", "5432"),
            *("-U", "postgres", "--maintenance-db=postgres", "stepwell"),
        )
        if code != 0 and "already exists" not in output:
            raise EmbeddedError(f"the database could not be created: {output}")
        done.touch()

    def _forget_the_dead(self) -> None:
        """Postgres would believe the files of a crash, if their pid is another program's by now."""
        if self.pid() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.socket / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _end_of_log(self) -> str:
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-2000:]
        return ""


def postmaster(data: Path) -> int | None:
    """The process that serves this very data directory."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
    except (OSError, ValueError):
        return None
    return pid if _serves(pid, data) else None


def _serves(pid: int, data: Path) -> bool:
    if sys.platform == "linux":
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return False
        return os.path.basename(command[0]).startswith("postgres") and str(data) in command
    show = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    text = subprocess.run(show, capture_output=True, text=True).stdout
    return "postgres" in text.split(" -", 1)[0] and str(data) in text
