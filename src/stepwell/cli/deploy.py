"""`stepwell deploy`: what a worker does when it starts, made visible, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from cyclopts import Parameter
from psycopg import AsyncConnection, Error

from stepwell.cli.database import AsJson, Dsn, database
from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from stepwell.cli.migrate import connected
from stepwell.cli.output import compact, note, plain, print_json, visible
from stepwell.compile.changes import Change, deploy_changes
from stepwell.compile.drift import Drift
from stepwell.compile.finish import Unserved, unserved
from stepwell.compile.schedules import deploy_schedules
from stepwell.db import migrate as schema
from stepwell.db.call import Call, Row
from stepwell.define.app import Stepwell
from stepwell.errors import StepwellError


async def deploy(
    target: Annotated[str, Parameter(help="app.py, app.py:name or module:name.")],
    *,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="Tell all of it, change nothing.")
    ] = False,
    apply_options: Annotated[
        bool,
        Parameter(negative=(), help="The options of the code, also where they were tuned by hand."),
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Make the database know an app: its flows, machines, jobs, limits and schedules.

    A changed flow becomes a new version beside the old one, on which its live
    runs go on. One transaction. A worker does the same when it starts.
    """
    app = load_app(target)
    async with await connected(database(dsn)) as conn:
        schema.check(await schema.read_schema(conn))
        runs = InTransaction(conn)
        async with conn.transaction(force_rollback=dry_run):
            changes = await deploy_changes(runs, app, apply_tuned=apply_options)
            await deploy_schedules(runs, app.schedules)
        own = {change.slug for change in changes}
        left = [each for each in await unserved(runs, app) if each.version.flow_slug in own]
    if json:
        print_json([as_data(change, apply_options, left) for change in changes])
        return Exit.OK
    has = {(change.slug, change.version) for change in changes}
    for change in changes:
        tell(change, apply_options)
        if (change.slug, change.current) not in has:
            print(f"  a start by name gets version {change.current}, which this code does not have")
    for each in left:
        note(left_text(each))
    if not changes:
        note(f"{target} has no flow, machine or job")
    elif dry_run:
        note("a dry run: nothing was changed")
    return Exit.OK


class InTransaction:
    """Runs calls on one connection, so that all of them count or none does."""

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        self._conn = conn

    async def run(self, call: Call[Row], /) -> list[Row]:
        return await call.on(self._conn)


def tell(change: Change, applied: bool) -> None:
    was = f" (was {change.previous})" if change.status in ("new version", "current again") else ""
    print(f"{change.kind} {change.slug}: {change.status}, version {change.version}{was}")
    for said in change.differences:
        print(f"  {visible(said)}")
    for each in change.drift:
        print(f"  {drift_text(each, applied)}")


def drift_text(drift: Drift, applied: bool) -> str:
    """From what the database had to what the code says, or which of them stays."""
    what = f"step {drift.step!r}: {drift.option}" if drift.step else drift.option
    stored, wanted = (value_text(value) for value in (drift.stored, drift.wanted))
    if drift.stays and not applied:
        return f"{what} stays {stored}: tuned by hand, the code says {wanted} (see --apply-options)"
    return f"{what} {stored} -> {wanted}"


def value_text(value: object) -> str:
    return "default" if value is None else compact(value)


async def tell_left(app: Stepwell, dsn: str) -> None:
    """Say which live runs of its definitions this code cannot end; nothing, if nobody answers."""
    with suppress(StepwellError, Error, OSError):
        async with await connected(dsn) as conn:
            left = await unserved(InTransaction(conn), app)
        for each in left:
            if each.version.flow_slug in app.registry.slugs:
                note(left_text(each, "bring it back, or cancel them"), style="yellow")


def left_text(each: Unserved, remedy: str = "keep an old worker") -> str:
    live, version = each.version.live, each.version
    runs = "1 live run" if live == 1 else f"{live} live runs"
    where = f"{version.flow_slug}, version {version.version}"
    return f"{runs} of {where}, cannot end on this code: {each.reason}; {remedy}"


def as_data(change: Change, applied: bool, left: Sequence[Unserved]) -> dict[str, object]:
    return {
        **plain(change),
        "drift": [plain(each) | {"applied": applied or not each.stays} for each in change.drift],
        "unserved": [
            {"version": each.version.version, "live": each.version.live, "reason": each.reason}
            for each in left
            if each.version.flow_slug == change.slug
        ],
    }
