"""`stepwell queues` and `stepwell flows`: list, pause and resume."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.output import note, seconds, visible
from stepwell.cli.runs import Actor, connected, told
from stepwell.cli.show import listed
from stepwell.db.inspect import DefinitionInfo, QueueInfo

queues = App(
    name="queues",
    help="List, pause and resume queues; send messages, and look after dead letters.",
)
flows = App(
    name="flows",
    help="List, pause and resume flows, machines and jobs; make flows from data, and delete them.",
)

Queue = Annotated[str, Parameter(help="The name of a queue.")]
Slug = Annotated[str, Parameter(help="The slug of a flow, machine or job.")]
Reason = Annotated[str | None, Parameter(help="Kept until it is resumed.")]


@queues.command(name="list")
async def list_queues(*, dsn: Dsn = None, json: AsJson = False) -> int:
    """List queues, with what is ready in them and what runs."""
    async with connected(dsn) as client:
        found = await client.queues()
    columns = "queue", "ready", "running", "oldest waits", ""
    return listed(found, json, "no queues", columns, queue_cells)


@queues.command(name="pause")
async def pause_queue(
    queue: Queue,
    /,
    *,
    reason: Reason = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Begin nothing of a queue until it is resumed. What runs goes on to its end."""
    async with connected(dsn) as client:
        known = {each.queue for each in await client.queues()}
        done = await client.pause_queue(queue, reason, actor=actor)
    if queue not in known:
        note(f"no definition uses the queue {queue!r}: nothing stops yet")
    return told("queue", queue, "paused", done, "it is paused already", json)


@queues.command(name="resume")
async def resume_queue(
    queue: Queue, /, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False
) -> int:
    """Let a paused queue go on."""
    async with connected(dsn) as client:
        done = await client.resume_queue(queue, actor=actor)
    return told("queue", queue, "resumed", done, "it is not paused", json)


@flows.command(name="list")
async def list_flows(*, dsn: Dsn = None, json: AsJson = False) -> int:
    """List the flows, machines and jobs that are deployed."""
    async with connected(dsn) as client:
        found = await client.definitions()
    columns = "slug", "kind", "version", "queue", ""
    return listed(found, json, "nothing is deployed", columns, definition_cells)


@flows.command(name="pause")
async def pause_flow(
    flow: Slug,
    /,
    *,
    reason: Reason = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Begin nothing of a flow, machine or job until it is resumed. What runs goes on to its end."""
    async with connected(dsn) as client:
        done = await client.pause_flow(flow, reason, actor=actor)
    return told("flow", flow, "paused", done, "it is paused already", json)


@flows.command(name="resume")
async def resume_flow(
    flow: Slug, /, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False
) -> int:
    """Let a paused flow, machine or job go on."""
    async with connected(dsn) as client:
        done = await client.resume_flow(flow, actor=actor)
    return told("flow", flow, "resumed", done, "it is not paused", json)


def queue_cells(each: QueueInfo) -> Iterator[str | Text]:
    age = datetime.now(UTC) - each.oldest_at if each.oldest_at else None
    yield from (visible(each.queue), str(each.ready), str(each.running))
    yield "" if age is None else seconds(max(0.0, age.total_seconds()))
    yield paused_text(each)


def definition_cells(each: DefinitionInfo) -> Iterator[str | Text]:
    yield from (each.slug, each.kind, str(each.version), visible(each.queue), paused_text(each))


def paused_text(each: QueueInfo | DefinitionInfo) -> Text:
    if each.paused_at is None:
        return Text("")
    return Text(": ".join(["paused", *([visible(each.reason)] if each.reason else [])]), "yellow")
