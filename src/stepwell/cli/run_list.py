"""`stepwell runs list` and `stepwell runs label`: find runs, and say what to find them by."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Annotated, Any, cast

from cyclopts import Parameter

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.labels import Pairs, pairs_of
from stepwell.cli.output import console, note, plain, print_json
from stepwell.cli.runs import Actor, Kind, Limit, RunId, Status, connected, resolve
from stepwell.cli.show import run_table
from stepwell.client.client import Client
from stepwell.client.filters import Filters, Moment
from stepwell.errors import InvalidDefinition

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


OfFlows = Annotated[
    tuple[str, ...],
    Parameter(negative=(), help="Of this flow, machine or job; may be repeated."),
]
OfKind = Annotated[Kind | None, Parameter(help="Only runs of this kind.")]
InStates = Annotated[
    tuple[Status, ...], Parameter(negative=(), help="In this state; may be repeated.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Which:
    """What a run must be to be listed."""

    tag: Annotated[
        tuple[str, ...], Parameter(negative=(), help="With this tag; repeated: with all of them.")
    ] = ()
    key: Annotated[str | None, Parameter(help="With this key.")] = None
    key_prefix: Annotated[str | None, Parameter(help="With a key that begins so.")] = None
    schedule: Annotated[str | None, Parameter(help="Started by this schedule.")] = None
    parent: Annotated[str | None, Parameter(help="Started by this run: an id or a key.")] = None
    since: Annotated[
        str | None,
        Parameter(help="Started then or later: 30m, 12h, 7d ago, or 2030-01-31T09:00+01:00."),
    ] = None
    until: Annotated[str | None, Parameter(help="Started before then.")] = None
    ended_since: Annotated[str | None, Parameter(help="Ended then or later.")] = None
    ended_until: Annotated[str | None, Parameter(help="Ended before then.")] = None
    input: Annotated[
        Pairs,
        Parameter(
            negative=(),
            help="With this in its input: customer.id=7; may be repeated. What is no JSON is text.",
        ),
    ] = ()
    metadata: Annotated[
        Pairs,
        Parameter(negative=(), help="With this in its metadata: shop=7; may be repeated."),
    ] = ()

    def filters(self) -> Filters:
        said: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        said["tags"] = said.pop("tag") or None
        for name in ("since", "until", "ended_since", "ended_until"):
            said[name] = moment_of(said[name], name)
        for name in ("input", "metadata"):
            said[name] = pairs_of(said[name], name) or None
        return cast(Filters, said)


async def list_runs(
    *,
    flow: OfFlows = (),
    kind: OfKind = None,
    status: InStates = (),
    which: Which | None = None,
    before: Annotated[
        str | None, Parameter(help="The page after this run: the last of a page.")
    ] = None,
    after: Annotated[
        str | None, Parameter(help="The page before this run: the first of a page.")
    ] = None,
    limit: Limit = 20,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """List runs, newest first: those that fit all that is said."""
    filters = (which or Which()).filters()
    async with connected(dsn) as client:
        if parent := filters.get("parent"):
            filters["parent"] = await resolve(client, str(parent))
        found = await client.list(
            flow or None,
            status or None,
            await resolve(client, before) if before else None,
            limit,
            kind,
            after=await resolve(client, after) if after else None,
            **filters,
        )
        strangers = [] if found else [slug for slug in flow if not await exists(client, slug)]
    if json:
        print_json(plain(found))
    elif found:
        console().print(run_table(found))
        if len(found) == limit:
            note(f"there may be more: add --before {found[-1].id}")
    else:
        asked = flow or status or kind or any(value is not None for value in filters.values())
        note("no such runs" if asked else "no runs")
    for slug in strangers:
        note(f"nothing is called {slug!r} in this database: see `stepwell flows list`")
    return Exit.OK


async def exists(client: Client, slug: str) -> bool:
    try:
        return await client.flow_exists(slug)
    except InvalidDefinition:  # nothing can be called that
        return False


async def label(
    run: RunId,
    *,
    tag: Annotated[
        tuple[str, ...], Parameter(negative=(), help="Give it this tag; may be repeated.")
    ] = (),
    remove: Annotated[
        tuple[str, ...], Parameter(negative=(), help="Take this tag away; may be repeated.")
    ] = (),
    metadata: Annotated[
        Pairs,
        Parameter(
            negative=(), help="Write this: shop=7; shop=null takes it away; may be repeated."
        ),
    ] = (),
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Change the tags and the metadata of a run, and print what it has then."""
    changes = pairs_of(metadata, "metadata")
    async with connected(dsn) as client:
        handle = client.run(await resolve(client, run))
        now = await handle.label(*tag, remove=remove, metadata=changes, actor=actor)
    if json:
        print_json(plain(now))
    else:
        print(", ".join(now.tags) or "no tags")
        for name, value in now.metadata.items():
            print_json({name: value})
    return Exit.OK


def moment_of(typed: str | None, name: str) -> Moment | None:
    """So long ago, or a time; one without an offset is meant as it is here."""
    if typed is None:
        return None
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", typed.strip().lower()):
        return timedelta(seconds=float(found[1]) * UNITS[found[2]])
    try:
        at = datetime.fromisoformat(typed)
    except ValueError:
        raise UsageError(
            f"--{name.replace('_', '-')} is {typed!r}; write so long ago (30m, 12h, 7d) or a time "
            "(2030-01-31T09:00+01:00)"
        ) from None
    return at if at.tzinfo else at.astimezone()
