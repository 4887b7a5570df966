"""`stepwell worker --processes N`: the supervisor, and what its processes tell it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec

from stepwell.settings import Settings
from stepwell.worker.crew import Crew
from stepwell.worker.stop import on_signals
from stepwell.worker.worker import Worker

TOLD = ("name", "state", "ready", "healthy", "database", "worker_id", "running")
INTERVAL = 1.0  # seconds between two reports
AT_FIRST = 0.1  # until the worker serves


def command_of(
    settings: Settings, target: str, options: Mapping[str, object], number: int
) -> list[str]:
    """How the process of that number is started: what was typed, and its own health port, which
    is the supervisor's plus its number."""
    said = {**options, "number": number, "processes": 1}
    if settings.health_port:
        said["health_port"] = settings.health_port + number
    words = [
        f"--{name.replace('_', '-')}={value}" for name, value in said.items() if value is not None
    ]
    return [sys.executable, "-m", "stepwell", "worker", target, "--until-eof", *words]


async def supervise(settings: Settings, target: str, options: Mapping[str, object]) -> int:
    """Run as many processes as the settings say, until told to stop; the exit code."""
    environment = {**os.environ, "STEPWELL_DSN": settings.dsn}  # not where `ps` shows it
    crew = Crew(
        lambda number: command_of(settings, target, options, number),
        environment,
        settings.processes,
        grace=settings.grace,
    )
    with on_signals(crew):
        return await crew.run(settings.health_host, settings.health_port)


@asynccontextmanager
async def reporting(worker: Worker, descriptor: int | None) -> AsyncGenerator[None]:
    """Write how the worker is, a line of JSON at a time, for the length of a block."""
    if descriptor is None:
        yield
        return
    os.set_blocking(descriptor, False)
    telling = asyncio.create_task(tell(worker, descriptor))
    try:
        yield
    finally:
        telling.cancel()


async def tell(worker: Worker, descriptor: int) -> None:
    while True:
        status = worker.status()
        said = msgspec.json.encode({name: status[name] for name in TOLD})
        with suppress(BlockingIOError, BrokenPipeError):  # it does not listen; it may be gone
            os.write(descriptor, said + b"\n")  # short, so that a pipe takes it whole
        await asyncio.sleep(INTERVAL if status["state"] == "serving" else AT_FIRST)
