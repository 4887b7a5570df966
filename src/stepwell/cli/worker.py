"""`stepwell worker`: serve an app until a signal says stop."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Literal

from cyclopts import Parameter

from stepwell.cli.crew import reporting, supervise
from stepwell.cli.database import Dsn, database, settings_of
from stepwell.cli.deploy import tell_left
from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from stepwell.cli.logs import Style, subscriber
from stepwell.observe.emit import subscribed
from stepwell.worker.stop import on_signals, run_loop
from stepwell.worker.worker import Worker

Verbose = Annotated[bool, Parameter(("--verbose", "-v"), negative=(), help="Log every task.")]
Quiet = Annotated[bool, Parameter(("--quiet", "-q"), negative=(), help="Log problems only.")]


def worker(
    target: Annotated[str, Parameter(help="app.py, app.py:name or module:name.")],
    *,
    processes: Annotated[int | None, Parameter(help="Worker processes to run; default 1.")] = None,
    concurrency: Annotated[
        int | None, Parameter(help="Tasks to run at once, in each process.")
    ] = None,
    flow_concurrency: Annotated[
        str | None,
        Parameter(
            help="Of some flows, machines or jobs fewer at once, in each process: greet=5,mail=2."
        ),
    ] = None,
    threads: Annotated[int | None, Parameter(help="Sync handlers to run at once.")] = None,
    body_processes: Annotated[
        int | None,
        Parameter(
            help="Child processes of each for bodies with process=True; else as many as cores."
        ),
    ] = None,
    lease: Annotated[
        float | None, Parameter(help="Seconds after which a silent worker counts as lost.")
    ] = None,
    grace: Annotated[
        float | None, Parameter(help="Seconds running tasks get to end after a stop.")
    ] = None,
    poll: Annotated[float | None, Parameter(help="Longest sleep in seconds when idle.")] = None,
    queues: Annotated[
        str | None, Parameter(help="Serve only these queues, separated by commas.")
    ] = None,
    wake: Annotated[
        Literal["notify", "poll"] | None,
        Parameter(help="notify (it listens, and polls; the default) or poll (it only polls)."),
    ] = None,
    health_port: Annotated[
        int | None, Parameter(help="Port of the health endpoint; else there is none.")
    ] = None,
    name: Annotated[str | None, Parameter(help="What to call this worker.")] = None,
    dsn: Dsn = None,
    logs: Annotated[
        Style | None, Parameter(help="Else human on a terminal, json elsewhere.")
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    until_eof: Annotated[bool, Parameter(show=False, negative=())] = False,
    report: Annotated[int | None, Parameter(show=False)] = None,
    number: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Run an app's tasks until stopped.

    The first SIGTERM or Ctrl-C lets running tasks end within the grace period,
    the second cuts them off; what does not end goes back to the queue.
    While the database is away the worker waits.
    What no option says is a setting (STEPWELL_LEASE and so on), or its default.
    """
    typed = {
        "concurrency": concurrency,
        "flow_concurrency": flow_concurrency,
        "threads": threads,
        "body_processes": body_processes,
        "lease": lease,
        "grace": grace,
        "poll": poll,
        "queues": queues,
        "wake": wake,
        "health_port": health_port,
    }
    settings = settings_of(dsn, processes=processes, **typed)
    app = load_app(target) if settings.processes == 1 else None  # each process loads it
    settings = replace(settings, dsn=database(dsn))
    say = subscriber(logs, logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    if app is None:
        more = {"name": name, "logs": logs, "verbose": verbose or None, "quiet": quiet or None}
        with subscribed(say):
            return run_loop(supervise(settings, target, {**typed, **more}))

    async def serve() -> None:
        if logs == "steps":  # for whoever has just saved a file under `dev`
            await tell_left(app, settings.dsn)
        serving = Worker(app, settings, name=name, number=number)
        with subscribed(say), on_signals(serving), while_parent_lives(serving, until_eof):
            async with reporting(serving, report):
                await serving.run()

    run_loop(serve())
    return Exit.OK


@contextmanager
def while_parent_lives(serving: Worker, wanted: bool) -> Generator[None]:
    """Stop when stdin ends: `dev` holds the other end, and cannot say goodbye if it is killed."""
    if not wanted:
        yield
        return
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def ended() -> None:
        if not os.read(descriptor, 1024):
            loop.remove_reader(descriptor)
            serving.stop()

    loop.add_reader(descriptor, ended)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
