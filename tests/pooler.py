"""The real PgBouncer, in transaction mode, before the server of the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stepwell.dev.owner import Owner
from tests.ports import free_ports

PATIENCE = 30.0
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "there is no pgbouncer: apt-get install pgbouncer"
POOL = 4  # server connections for all clients together: fewer than one worker opens

CONFIG = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {pool}
reserve_pool_size = 0
max_client_conn = 500
server_login_retry = 0.2
"""


class Pooler:
    """One PgBouncer: killed and started again by a test that wants to know what happens."""

    def __init__(self, server: str, folder: Path) -> None:
        self._folder = folder
        self._port = free_ports()
        self._owner = owner_of(server)
        self._process: subprocess.Popen[bytes] | None = None
        parts = conninfo_to_dict(server)
        known = ("host", "port", "user", "password")
        said = " ".join(f"{name}={parts[name]}" for name in known if parts.get(name))
        text = CONFIG.format(server=said, port=self._port, pool=POOL)
        (folder / "pgbouncer.ini").write_text(text)

    def dsn(self, direct: str) -> str:
        """The same database, through the pooler."""
        name = conninfo_to_dict(direct)["dbname"]
        return make_conninfo(host="127.0.0.1", port=self._port, dbname=name, user="anybody")

    def start(self) -> None:
        assert PROGRAM, MISSING
        owner = self._owner if self._owner.is_other else None  # it does not run as root
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-q", str(self._folder / "pgbouncer.ini")],
                cwd=self._folder,
                stderr=log,
                user=owner and owner.name,
                group=owner and owner.gid,
                extra_groups=[] if owner else None,
            )
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert time.monotonic() < end, (self._folder / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """Every connection breaks, in the middle of whatever it did."""
        assert self._process
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(PATIENCE)

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self.kill()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def pooled(server: str) -> Generator[Pooler]:
    """A PgBouncer before the server with this address. Where none is installed the test is skipped,
    but not where somebody promised that there is one."""
    if PROGRAM is None:
        if "pgbouncer" in os.environ.get("STEPWELL_TEST_REQUIRE", ""):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    folder = Path(tempfile.mkdtemp(prefix="stepwell-pooler-", dir="/tmp"))
    folder.chmod(0o755)
    pooler = Pooler(server, folder)
    try:
        pooler.start()
        yield pooler
    finally:
        pooler.close()
        shutil.rmtree(folder, ignore_errors=True)


def owner_of(server: str) -> Owner:
    """Who may connect to the embedded server: whom its data belong to."""
    with psycopg.connect(server, autocommit=True) as conn:
        row = conn.execute("show data_directory").fetchone()
    assert row
    return Owner.of(Path(row[0]))
