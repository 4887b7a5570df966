"""`stepwell dev`: Postgres, schema and a worker in one terminal; saving a file starts it anew."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from stepwell.cli.database import Dsn, development_database
from stepwell.cli.exits import Exit
from stepwell.cli.load import parse
from stepwell.cli.migrate import migrate_quietly
from stepwell.cli.output import note
from stepwell.dev.reload import Reloader
from stepwell.settings import without_password

GRACE = 5.0  # seconds: whoever saved a file is waiting


def dev(
    target: Annotated[str, Parameter(help="app.py, app.py:name or module:name.")],
    *,
    concurrency: Annotated[int | None, Parameter(help="Tasks to run at once.")] = None,
    dsn: Dsn = None,
) -> int:
    """Postgres, schema and a worker in one terminal.

    The worker starts anew when a .py file beside or below the app changes.
    The database stays, and with it every run; tasks that were cut off run
    again on the new code. Ctrl-C stops it all.
    """
    folder = parse(target).root  # a program that does not import yet may still be edited
    with development_database(dsn) as address:
        asyncio.run(migrate_quietly(address))
        note(f"database {without_password(address)}")
        note(f"watching {folder}; Ctrl-C stops")
        more = [] if concurrency is None else ["--concurrency", str(concurrency)]
        reloader = Reloader(
            command=worker_command(target, "--logs", "steps", "--grace", str(GRACE), *more),
            folder=folder,
            say=lambda text: note(text, style="cyan"),
            environment=child_environment(address),
            patience=GRACE + 6,
            retry_codes=frozenset({int(Exit.DATABASE)}),
        )
        stop_on_signals(reloader)
        code = reloader.run()
    note("stopped; the runs are kept")
    return code


def worker_command(target: str, *options: str) -> list[str]:
    """A worker in a process of its own, which ends with this one."""
    return [sys.executable, "-m", "stepwell", "worker", target, "--until-eof", *options]


def child_environment(address: str) -> dict[str, str]:
    """The address goes here: everybody may read the arguments of a process."""
    return {**os.environ, "STEPWELL_DSN": address, "PYTHONUNBUFFERED": "1"}


def stop_on_signals(reloader: Reloader) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        reloader.stop()

    def closed(number: int, frame: FrameType | None) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)  # the terminal is gone: nothing reads our words
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        reloader.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, closed)
