"""`stepwell workers`: who works, how they are, and telling them to go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit
from stepwell.cli.output import print_json, seconds, visible
from stepwell.cli.runs import Actor, connected
from stepwell.cli.show import listed
from stepwell.db.workers import WorkerInfo
from stepwell.errors import NotFound

workers = App(name="workers", help="List workers, and tell them to go.")

STYLES = {"healthy": "green", "stale": "yellow", "dead": "red"}
FEWEST = 8  # digits of an id that name a worker
RECENTLY = timedelta(days=1)


@workers.command(name="list")
async def list_workers(
    *,
    all: Annotated[
        bool, Parameter(negative=(), help="Also those that stopped within a day.")
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """List workers: how they are, what they serve, how much each has in hand."""
    async with connected(dsn) as client:
        found = await client.workers(RECENTLY if all else timedelta())
    columns = "worker", "health", "name", "host", "pid", "running", "silent", "queues"
    return listed(found, json, "no workers", columns, worker_cells)


@workers.command
async def drain(
    worker: Annotated[
        str, Parameter(help="A worker id or its beginning (8 digits or more), a name, or a host.")
    ],
    /,
    *,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Tell workers to take nothing new, to end what runs, and to go."""
    async with connected(dsn) as client:
        meant = named(worker, await client.workers())
        told = await client.drain(*(each.id for each in meant), actor=actor)
    if json:
        print_json({"drained": told})
    else:
        for each in meant:
            said = "is told to go" if each.id in told else "was told before"
            print(f"{str(each.id)[:FEWEST]} {visible(each.name)} {said}")
    return Exit.OK if told else Exit.FAILED


def named(word: str, known: Iterable[WorkerInfo]) -> list[WorkerInfo]:
    """The workers that a word means; NotFound when there is none."""
    digits = word.lower()
    found = [
        each
        for each in known
        if word in (each.name, each.host)
        or (len(digits) >= FEWEST and str(each.id).startswith(digits))
    ]
    if not found:
        raise NotFound(f"no worker {word!r} is there; see `stepwell workers list`")
    return found


def worker_cells(each: WorkerInfo) -> Iterator[str | Text]:
    yield from (str(each.id)[:FEWEST], health_text(each), visible(each.name))
    yield from (visible(each.host or ""), str(each.pid or ""), str(each.running))
    yield from (seconds(each.silent), visible(", ".join(each.queues)))


def health_text(each: WorkerInfo) -> Text:
    text = Text(each.health, STYLES[each.health])
    if each.draining and each.stopped_at is None:
        text.append(" draining", "dim")
    elif each.stopped_at is not None:
        text.append(" stopped", "dim")
    return text
