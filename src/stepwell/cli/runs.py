"""`stepwell runs`: list, show, cancel and retry."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from cyclopts import App, Parameter
from cyclopts.validators import Number

from stepwell.cli.database import AsJson, Dsn, database, settings_of
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.follow import follow, pictures
from stepwell.cli.output import complain, console, note, plain, print_json
from stepwell.cli.show import Picture, as_data, attempt_list, described, run_table
from stepwell.client.client import Client
from stepwell.client.reading import LONGEST_LIST
from stepwell.errors import NotFound

runs = App(name="runs", help="List, show, cancel and retry runs.")

RunId = Annotated[str, Parameter(help="A run id, or its beginning (8 digits or more).")]
Status = Literal["started", "completed", "failed", "cancelled"]
SHORTEST = 8
LONGEST_CONNECT = 5.0  # seconds


@runs.command(name="list")
async def list_runs(
    *,
    flow: Annotated[str | None, Parameter(help="Only runs of this flow.")] = None,
    status: Annotated[Status | None, Parameter(help="Only runs in this state.")] = None,
    limit: Annotated[
        int, Parameter(help="At most so many.", validator=Number(gte=1, lte=LONGEST_LIST))
    ] = 20,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """List runs, newest first."""
    async with connected(dsn) as client:
        found = await client.list(flow=flow, status=status, limit=limit)
    if json:
        print_json(plain(found))
    elif found:
        console().print(run_table(found))
    else:
        note("no runs" if not (flow or status) else "no such runs")
    return Exit.OK


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
            ("--watch", "--wait", "-w"), negative=(), help="Until it ends; exit 1 unless completed."
        ),
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Show one run: its steps, outputs and errors."""
    async with connected(dsn) as client:
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
async def cancel(
    run: RunId,
    *,
    reason: Annotated[str | None, Parameter(help="Kept with the run.")] = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """End a run now. Its running steps are told to stop; what they return is dropped."""
    async with connected(dsn) as client:
        run_id = await resolve(client, run)
        done = await client.cancel(run_id, reason)
        status = (await client.get(run_id)).status
    return told(run_id, "cancelled", done, f"it had ended already ({status})", json)


@runs.command
async def retry(run: RunId, *, dsn: Dsn = None, json: AsJson = False) -> int:
    """Let a failed or cancelled run go on from where it ended. Completed steps stay."""
    async with connected(dsn) as client:
        run_id = await resolve(client, run)
        done = await client.retry(run_id)
        status = (await client.get(run_id)).status
    return told(
        run_id, "retried", done, f"only an ended run that failed can go on ({status})", json
    )


def told(run_id: UUID, what: str, done: bool, otherwise: str, json: bool) -> int:
    if json:
        print_json({"id": run_id, what: done})
    elif done:
        print(f"{what} {run_id}")
    else:
        complain(f"run {run_id} was not {what}: {otherwise}")
    return Exit.OK if done else Exit.FAILED


def connected(dsn: str | None) -> Client:
    """A client that does not try for long: somebody is watching."""
    settings = settings_of(database(dsn))
    patience = min(settings.connect_timeout, LONGEST_CONNECT)
    return Client(settings=replace(settings, connect_timeout=patience))


async def ended(client: Client, run_id: UUID) -> None:
    """Wait quietly; how it ended is read afterwards."""
    await client.run(run_id).wait()


async def resolve(client: Client, typed: str) -> UUID:
    """The run that is meant. Ids grow with time, so a beginning is a range of them."""
    digits = typed.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{8,32}", digits):
        raise UsageError(
            f"{typed!r} is no run id; give at least its first {SHORTEST} digits "
            "(stepwell runs list shows them)"
        )
    if len(digits) == 32:
        return UUID(digits)
    after = UUID(int=min(int(digits.ljust(32, "f"), 16) + 1, 2**128 - 1))
    found = [run.id for run in await client.list(before=after, limit=2)]
    match [run_id for run_id in found if run_id.hex.startswith(digits)]:
        case [only]:
            return only
        case []:
            raise NotFound(f"no run begins with {typed}: see `stepwell runs list`")
        case _:
            raise UsageError(f"several runs begin with {typed}; give more digits of the id")
