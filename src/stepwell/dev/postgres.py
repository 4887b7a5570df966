"""The embedded Postgres: start it from many processes; it stops after the last of them."""

import fcntl
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from stepwell.dev import cluster, locks, programs, watch
from stepwell.dev.owner import Owner
from stepwell.dev.server import Server, postmaster
from stepwell.errors import EmbeddedError

_LONGEST_SOCKET = 80  # the system's limit is 104 or 108 with the file's name
_PATIENCE = 300.0  # seconds to wait for another process that starts or stops the server


@dataclass(frozen=True, slots=True)
class Status:
    running: bool
    pid: int | None
    major: int | None
    kept: bool
    home: Path
    dsn: str


class EmbeddedPostgres:
    """A Postgres in `home`, shared by all who start it there.

    A server that runs already is used as it is; `settings` hold when this call starts it. It stops
    when the last process that started it releases it or ends, even by SIGKILL. `start(keep=True)`
    leaves it running for nobody in particular, until `stop()`.
    """

    def __init__(
        self,
        home: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        provider: str | None = None,
    ) -> None:
        self.home = Path(home or default_home()).absolute()
        self._settings = dict(settings or {})
        self._provider = provider
        self._lease: int | None = None

    def start(self, *, keep: bool = False) -> str:
        """Make sure that the server runs, now and for as long as this process lives; its DSN."""
        self._open_home()
        if self._lease is None:  # waits while a watcher is stopping the server
            self._lease = locks.shared(self.home / "lease", _PATIENCE)
        try:
            with locks.exclusive(self.home / "start.lock", _PATIENCE):
                server = self._server()
                if keep:
                    (self.home / "keep").touch()
                if not (self.home / "keep").exists():
                    self._have_a_watcher(server)  # before the server: we may be killed in between
                if not server.is_serving():
                    cluster.configure(server.data, self._socket, self._settings)
                    server.start()
        except BaseException:
            self.release()
            raise
        return self.dsn()

    def release(self) -> None:
        """Need the server no longer; the watcher stops it if nobody else does."""
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None

    def stop(self, timeout: float = 30) -> None:
        """Stop the server now, for everybody, and let a kept one go."""
        self.release()
        if not self.home.exists():
            return
        with locks.exclusive(self.home / "start.lock", _PATIENCE):
            (self.home / "keep").unlink(missing_ok=True)
            if self._pid() is not None:
                self._server().stop(timeout)
            if self._socket.parent != self.home:
                with suppress(OSError):
                    self._socket.rmdir()

    def dsn(self, dbname: str = "stepwell") -> str:
        """Where it is, running or not."""
        host = quote(str(self._socket), safe="")
        return f"postgresql://postgres@/{quote(dbname, safe='')}?host={host}&port=5432"

    def status(self) -> Status:
        """Whether it runs, and as which process."""
        pid = self._pid()
        return Status(
            running=pid is not None,
            pid=pid,
            major=cluster.existing_major(self.home),
            kept=(self.home / "keep").exists(),
            home=self.home,
            dsn=self.dsn(),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def _socket(self) -> Path:
        """In the home, unless that path is too long for a socket."""
        socket = self.home / "run"
        if len(os.fsencode(socket)) <= _LONGEST_SOCKET:
            return socket
        tag = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(f"/tmp/stepwell-{os.geteuid()}-{tag}")

    def _pid(self) -> int | None:
        major = cluster.existing_major(self.home)
        return None if major is None else postmaster(self._data(major))

    def _data(self, major: int) -> Path:
        return self.home / f"data-{major}"

    def _open_home(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            if os.geteuid() == 0:
                self.home.chmod(0o711)  # the service account passes through
        except OSError as error:
            raise EmbeddedError(
                f"{self.home} cannot be used ({error.strerror}): set STEPWELL_HOME to a directory "
                "of yours, or DATABASE_URL to a server of yours"
            ) from error

    def _server(self) -> Server:
        """The server of this home, its data directory made if there is none."""
        existing = cluster.existing_major(self.home)
        owner = Owner.of(self._data(existing or 0))
        if owner.is_other and not owner.can_enter(self.home):
            raise EmbeddedError(
                f"Postgres runs as {owner.name!r} here, which may not enter {self.home}: "
                "set STEPWELL_HOME to a directory that is not below a private one"
            )
        found = programs.choose(owner, self.home / "programs", self._provider, existing)
        data = self._data(found.major)
        if existing is None:
            sync = self._settings.get("fsync") != "off"
            cluster.create(data, owner, found, sync=sync)
        return Server(owner, found, data, self._socket)

    def _have_a_watcher(self, server: Server) -> None:
        lock = locks.acquire(self.home / "watcher.lock", fcntl.LOCK_EX, 0)
        if lock is not None:
            try:
                owner, pg_ctl = server.owner, server.programs["pg_ctl"]
                watch.spawn(self.home, server.data, pg_ctl, owner.uid, owner.gid, lock)
            finally:
                os.close(lock)


def default_home() -> Path:
    """STEPWELL_HOME, else where programs of this user keep their data."""
    if home := os.environ.get("STEPWELL_HOME"):
        return Path(home)
    if os.geteuid() == 0:
        return Path("/var/lib/stepwell")
    if base := os.environ.get("XDG_DATA_HOME"):
        return Path(base, "stepwell")
    return Path(os.path.expanduser("~"), ".local/share/stepwell")
