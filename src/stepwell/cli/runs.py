"""`stepwell runs`: list, show, and steer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID

from cyclopts import App, Parameter
from cyclopts.validators import Number

from stepwell.cli.database import AsJson, Dsn, database, settings_of
from stepwell.cli.exits import WHAT_NOW, Exit, UsageError
from stepwell.cli.follow import follow
from stepwell.cli.output import complain, console, note, print_json
from stepwell.cli.picture import Picture, as_data, pictures
from stepwell.cli.show import attempt_list, described
from stepwell.cli.watch import print_events
from stepwell.client.client import Client
from stepwell.client.reading import LONGEST_LIST
from stepwell.client.run import Run
from stepwell.errors import NotFound

runs = App(name="runs", help="List, show and steer runs.")
runs.command(
    "stepwell.cli.explain:explain",
    name="explain",
    help="Say why a run is not moving, and what to do about it; exit 1 when it is stuck.",
)
runs.command(
    "stepwell.cli.run_list:list_runs",
    name="list",
    help="List runs, newest first: those that fit all that is said.",
)
runs.command(
    "stepwell.cli.run_list:label",
    name="label",
    help="Change the tags and the metadata of a run, and print what it has then.",
)
runs.command(
    "stepwell.cli.run_logs:logs",
    name="logs",
    help="Print what the handlers of a run said with ctx.log.",
)
for verb, said in (
    ("cancel", "End a run now, and its children; or all live runs that fit."),
    ("retry", "Let a failed or cancelled run go on from where it ended, or all that fit."),
    ("restart", "Start a new run with the input of an old one, or one for each that fits."),
    ("delete", "Forget a run that has ended, with all that it left, or all that fit."),
):
    runs.command(f"stepwell.cli.run_steer:{verb}", name=verb, help=said)

RunId = Annotated[
    str, Parameter(help="A run id, its beginning (8 digits or more), or the key of a run.")
]
Actor = Annotated[str | None, Parameter(help="Who does it, for the audit; else the database user.")]
Limit = Annotated[
    int, Parameter(help="At most so many.", validator=Number(gte=1, lte=LONGEST_LIST))
]
Kind = Literal["flow", "machine", "job"]
Status = Literal["started", "completed", "failed", "cancelled"]
LONGEST_CONNECT = 5.0  # seconds
WHILE_WATCHING = 1.0  # until it is said that the database is away


@runs.command
async def show(
    run: RunId,
    *,
    attempts: Annotated[
        bool, Parameter(negative=(), help="Also every failed attempt, with its traceback.")
    ] = False,
    watch: Annotated[
        bool,
        Parameter(
            ("--watch", "--wait", "-w"),
            negative=(),
            help="First draw it until it ends; exit 1 unless it completed.",
        ),
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Show one run: its steps, outputs and errors, its state, signals and children."""
    async with connected(dsn, WHILE_WATCHING if watch else LONGEST_CONNECT) as client:
        run_id = await resolve(client, run)
        if watch and json:
            await ended(client, run_id)
        elif watch:
            await follow(client, [run_id], console())
        [shown] = await pictures(client, [run_id])
    if json:
        print_json(as_data(shown, attempts=attempts))
    else:
        console().print(described(shown))
        if attempts and shown.attempts:
            console().print(attempt_list(shown.attempts))
        elif shown.attempts:
            note(f"{how_many(shown)}: add --attempts to see why")
    if attempts and shown.attempts_cut:
        note(f"{how_many(shown)}: these are the first {len(shown.attempts)}")
    return Exit.FAILED if watch and shown.run.status != "completed" else Exit.OK


def how_many(shown: Picture) -> str:
    many = len(shown.attempts)
    if shown.attempts_cut:
        return f"more than {many} failed attempts"
    return "1 failed attempt" if many == 1 else f"{many} failed attempts"


@runs.command
async def watch(
    run: RunId,
    *,
    events: Annotated[
        bool, Parameter(negative=(), help="What happens from now on, a line per event.")
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Show a run with its children until it ends: as a tree on a terminal, else a line per change;
    exit 1 unless it completed. With --json its events, an object per line."""
    async with connected(dsn, WHILE_WATCHING) as client:
        run_id = await resolve(client, run)
        if events or json:
            status = (await print_events(client, run_id, console(), json)).status
        else:
            [shown] = await follow(client, [run_id], console())
            status = shown.run.status
    if status == "failed" and not json:
        note(WHAT_NOW.format(run_id))
    return Exit.OK if status == "completed" else Exit.FAILED


@runs.command
async def pause(run: RunId, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False) -> int:
    """Begin nothing more of a run until it is resumed. What runs goes on to its end."""
    otherwise = "it is paused already", "it has ended"
    return await steer(run, dsn, json, "paused", lambda r: r.pause(actor=actor), *otherwise)


@runs.command
async def resume(run: RunId, *, actor: Actor = None, dsn: Dsn = None, json: AsJson = False) -> int:
    """Let a paused run go on."""
    otherwise = "it is not paused"
    return await steer(run, dsn, json, "resumed", lambda r: r.resume(actor=actor), otherwise)


@runs.command
async def priority(
    run: RunId,
    priority: Annotated[int, Parameter(help="Lower goes first.", allow_leading_hyphen=True)],
    /,
    *,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Move a live run before or behind others of its queue."""
    return await steer(
        run, dsn, json, "moved", lambda r: r.set_priority(priority, actor=actor), "it has ended"
    )


async def steer(
    typed: str,
    dsn: str | None,
    json: bool,
    what: str,
    act: Callable[[Run[Any]], Awaitable[bool]],
    otherwise: str,
    once_ended: str | None = None,
) -> int:
    async with connected(dsn) as client:
        run = client.run(await resolve(client, typed))
        done = await act(run)
        if not done and (status := (await run.info()).status) != "started":
            otherwise = f"{once_ended or otherwise} ({status})"
    return told("run", run.id, what, done, otherwise, json)


def told(kind: str, name: UUID | str, what: str, done: bool, otherwise: str, json: bool) -> int:
    """Say whether it was done to a run, a flow, a queue or a schedule."""
    if json:
        print_json({"id" if isinstance(name, UUID) else "name": name, what: done})
    elif done:
        print(f"{what} {name}")
    else:
        complain(f"{kind} {name} was not {what}: {otherwise}")
    return Exit.OK if done else Exit.FAILED


def connected(dsn: str | None, longest: float = LONGEST_CONNECT) -> Client:
    """A client that does not try for long: somebody is watching."""
    settings = settings_of(database(dsn))
    patience = min(settings.connect_timeout, longest)
    return Client(settings=replace(settings, connect_timeout=patience))


async def ended(client: Client, run_id: UUID) -> None:
    """Wait quietly; how it ended is read afterwards."""
    await client.run(run_id).wait()


async def resolve(client: Client, typed: str) -> UUID:
    """The run that is meant. Ids grow with time, so a beginning is a range of them."""
    digits = typed.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{8,32}", digits):
        return (await client.find(typed)).id
    if len(digits) == 32:
        return UUID(digits)
    match await client.beginning_with(digits):
        case [only]:
            return only
        case []:
            return await with_key(client, typed)
        case several:
            raise UsageError(
                f"several runs begin with {typed}, such as {' and '.join(map(str, several))}; give "
                "more digits of the id (it begins with the time), or see `stepwell runs list`"
            )


async def with_key(client: Client, typed: str) -> UUID:
    try:
        return (await client.find(typed)).id
    except NotFound:
        raise NotFound(
            f"no run begins with {typed} or has that key: see `stepwell runs list`"
        ) from None
