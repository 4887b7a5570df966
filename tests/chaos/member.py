"""The worker process that chaos tests start and kill.

Run it with `python -m tests.chaos.member '{"dsn": ...}' LOG tests.chaos.program:app`: settings as
JSON, the file for what its bodies say (journal.py), and what it serves."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from stepwell import Settings, Stepwell, Worker
from stepwell.observe.emit import subscribed
from stepwell.observe.events import Event
from stepwell.worker.stop import on_signals, run_loop

from . import journal


def say(event: Event) -> None:
    name = type(event).__name__
    if name.startswith(("Worker", "OutcomeDropped", "Database")):
        print(name, flush=True)


def app_at(place: str) -> Stepwell:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


async def serve(app: Stepwell, settings: Settings) -> None:
    worker = Worker(app, settings)
    with subscribed(say), on_signals(worker):
        await worker.run()


if __name__ == "__main__":
    knobs, log, place = sys.argv[1:]
    journal.open_at(Path(log))
    run_loop(serve(app_at(place), Settings(**json.loads(knobs))))
