"""`stepwell flows upsert` and `delete`: flows that are made from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from cyclopts import Parameter

from stepwell.cli.begin import read
from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.lanes import Slug, flows
from stepwell.cli.output import plain, print_json
from stepwell.cli.runs import Actor, connected, told
from stepwell.client.client import Client
from stepwell.client.reading import LONGEST_LIST
from stepwell.client.upserting import UpsertedFlow
from stepwell.define.payload import decoder
from stepwell.errors import InvalidDefinition, PayloadError

__all__ = ["flows"]

Data = Annotated[
    str,
    Parameter(
        help='JSON, @FILE, or - for stdin: {"steps": [{"slug": "a"}], "timeout": 60}.',
        allow_leading_hyphen=True,
    ),
]
Replace = Annotated[
    bool, Parameter(negative=(), help="Delete what was there, with every run of it.")
]
Yes = Annotated[
    bool, Parameter(negative=(), help="Do it; without this only say how much it would be.")
]


@flows.command(name="upsert")
async def upsert_flow(
    flow: Annotated[str, Parameter(help="The slug of the flow.")],
    data: Data,
    /,
    *,
    replace: Replace = False,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Make a flow of plain data, and what starts by its name get from now on.

    Runs of a flow that looked different go on as they are.
    """
    said = options_in(read(data) or "")
    async with connected(dsn) as client:
        made = await made_of(client, flow, said, replace=replace, actor=actor)
    if json:
        print_json(plain([made])[0])
        return Exit.OK
    print(f"{made.status} {flow}, version {made.version}")
    for difference in made.differences:
        print(f"  {difference}")
    return Exit.OK


@flows.command(name="delete")
async def delete_flow(
    flow: Slug,
    /,
    *,
    yes: Yes = False,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Delete a flow, machine or job with every run of it. What still runs is cancelled first."""
    async with connected(dsn) as client:
        if not yes:
            if not await client.flow_exists(flow):
                return told("flow", flow, "deleted", False, "there is none by this name", json)
            runs = len(await client.list(flow, limit=LONGEST_LIST))
            many = f"{runs} or more" if runs == LONGEST_LIST else str(runs)
            raise UsageError(
                f"this deletes {flow} with all its runs ({many}), and nobody gets them back; "
                "say --yes"
            )
        done = await client.delete_flow(flow, actor=actor)
    return told("flow", flow, "deleted", done, "there is none by this name", json)


def options_in(text: str) -> Mapping[str, Any]:
    """What was typed, as the arguments of `upsert_flow`."""
    try:
        said = decoder(Any)(text)
    except PayloadError as error:
        raise UsageError(f"the data: {error}") from error
    if isinstance(said, list):
        return {"steps": said}
    if not isinstance(said, dict) or {"slug", "replace", "actor", "conn"} & said.keys():
        raise UsageError('the data is an object: {"steps": [{"slug": ...}, ...], ...}')
    return cast("dict[str, Any]", said)


async def made_of(
    client: Client, flow: str, said: Mapping[str, Any], *, replace: bool, actor: str | None
) -> UpsertedFlow:
    steps: Any = said.get("steps")
    options: Any = {name: value for name, value in said.items() if name != "steps"}
    try:
        return await client.upsert_flow(flow, steps=steps, replace=replace, actor=actor, **options)
    except InvalidDefinition as error:
        raise UsageError(f"{error} ({error.reason})") from error
