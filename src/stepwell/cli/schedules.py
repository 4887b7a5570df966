"""`stepwell schedules`: list, show, pause, resume, trigger, delete, and the next slots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit
from stepwell.cli.output import compact, console, plain, print_json, visible
from stepwell.cli.runs import Actor, connected, told
from stepwell.cli.show import listed
from stepwell.client.timetable import MOST_SLOTS, ScheduleInfo

schedules = App(name="schedules", help="List, show, pause, resume and trigger schedules.")

Name = Annotated[str, Parameter(help="The name of a schedule.")]


@schedules.command(name="list")
async def list_schedules(*, dsn: Dsn = None, json: AsJson = False) -> int:
    """List schedules by name."""
    async with connected(dsn) as client:
        found = await client.schedules.list()
    columns = "schedule", "starts", "next (UTC)", "when"
    return listed(found, json, "no schedules", columns, cells)


@schedules.command
async def show(schedule: Name, /, *, dsn: Dsn = None, json: AsJson = False) -> int:
    """Show one schedule and its next slots."""
    async with connected(dsn) as client:
        found = await client.schedules.get(schedule)
        slots = await client.schedules.next(schedule, 3)
    if json:
        print_json({**plain(found), "slots": slots})
    else:
        console().print(facts_of(found, slots))
    return Exit.OK


@schedules.command
async def pause(
    schedule: Name, /, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False
) -> int:
    """Fire no slot of a schedule until it is resumed."""
    async with connected(dsn) as client:
        done = await client.schedules.pause(schedule, actor=actor)
    return told("schedule", schedule, "paused", done, "it is paused already", json)


@schedules.command
async def resume(
    schedule: Name, /, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False
) -> int:
    """Fire slots again. Its catch-up policy says what of the pause is made up for."""
    async with connected(dsn) as client:
        done = await client.schedules.resume(schedule, actor=actor)
    return told("schedule", schedule, "resumed", done, "it is not paused", json)


@schedules.command
async def trigger(
    schedule: Name, /, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False
) -> int:
    """Start a run now and print its id. The slots stay as they are."""
    async with connected(dsn) as client:
        run = await client.schedules.trigger(schedule, actor=actor)
    if json:
        print_json({"name": schedule, "id": run.id})
    else:
        print(run.id)
    return Exit.OK


@schedules.command
async def delete(
    schedule: Name, /, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False
) -> int:
    """Forget a schedule. Its runs stay; code that still has it makes it anew when deployed."""
    async with connected(dsn) as client:
        await client.schedules.delete(schedule, actor=actor)
    return told("schedule", schedule, "deleted", True, "", json)


@schedules.command(name="next")
async def next_slots(
    schedule: Name,
    /,
    *,
    count: Annotated[int, Parameter(help="How many.", validator=Number(gte=1, lte=MOST_SLOTS))] = 5,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Print the next slots of a schedule, in UTC."""
    async with connected(dsn) as client:
        slots = await client.schedules.next(schedule, count)
    if json:
        print_json(slots)
    else:
        for slot in slots:
            print(moment(slot))
    return Exit.OK


def cells(each: ScheduleInfo) -> Iterator[str | Text]:
    yield from (Text(each.name, style="bold"), each.flow)
    yield Text("paused", style="yellow") if each.paused_at else moment(each.next_at)
    more = [("  " + visible(each.error), "red")] if each.error else []
    yield Text.assemble(visible(each.when), *more)


def facts_of(found: ScheduleInfo, slots: Sequence[datetime]) -> Table:
    facts = Table.grid(padding=(0, 2))
    version = f" v{found.version}" if found.version else ""
    for name, value in (
        ("name", found.name),
        ("starts", f"{found.kind} {found.flow}{version}"),
        ("when", found.when),
        ("input", compact(found.input, 100)),
        ("overlap", found.overlap),
        ("catch-up", found.catch_up),
        ("paused", moment(found.paused_at) if found.paused_at else None),
        ("waiting", str(found.waiting) if found.waiting else None),
        ("last slot", moment(found.last_slot) if found.last_slot else None),
        ("last run", str(found.last_run_id) if found.last_run_id else None),
        ("error", found.error),
        ("next", ", ".join(moment(slot) for slot in slots)),
    ):
        if value:
            facts.add_row(Text(name, style="dim"), Text(visible(value)))
    return facts


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
