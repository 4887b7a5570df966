"""Print what happens to a run, a line per event, as it happens."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.text import Text

from stepwell.cli.output import compact, visible
from stepwell.client.client import Client
from stepwell.client.events import RunEvent
from stepwell.client.identity import Target

STYLES = {"completed": "green", "failed": "red", "cancelled": "red", "skipped": "dim"}


async def print_events(client: Client, run: Target, console: Console, json: bool) -> RunEvent:
    """Until the run has ended; how it ended."""
    async with client.events(run) as events:
        async for event in events:
            if json:
                print_line(event)
            else:
                console.print(sentence(event), soft_wrap=True)
            if event.ended:
                return event
    raise AssertionError("a stream of one run ends with the run")


def print_line(event: RunEvent) -> None:
    """One object per line, as programs read a stream."""
    said = {"event": event.name, "at": event.at, "payload": event.payload}
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    sys.stdout.flush()


def sentence(event: RunEvent) -> Text:
    what = "run" if event.step is None else visible(event.step)
    return Text.assemble(
        (f"{event.at.astimezone():%H:%M:%S}  ", "dim"),
        f"{what} ",
        (event.status, STYLES.get(event.status, "")),
        details(event),
    )


def details(event: RunEvent) -> str:
    if event.error_message is not None:
        return f": {' '.join(visible(event.error_message).split())}"
    if event.status == "skipped":
        return f": {event.payload['skip_reason']}"
    if event.status == "completed":
        return f": {compact(event.output)}"
    return ""
