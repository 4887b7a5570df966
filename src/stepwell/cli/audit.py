"""`stepwell audit`: who did what by hand."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit
from stepwell.cli.output import compact, console, note, plain, print_json, visible
from stepwell.cli.runs import Limit, connected, resolve
from stepwell.cli.show import narrow_table


async def audit(
    run: Annotated[
        str | None, Parameter(help="Only of this run: its id, its beginning, or its key.")
    ] = None,
    /,
    *,
    limit: Limit = 20,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """List what was done by hand, newest first: who, when, what."""
    async with connected(dsn) as client:
        run_id = None if run is None else await resolve(client, run)
        found = await client.audit(run_id, limit)
    if json:
        print_json(plain(found))
    elif found:
        table = narrow_table("when (UTC)", "who", "what", "to")
        for each in found:
            more = f"  {compact(each.detail, 100)}" if each.detail else ""
            table.add_row(
                Text(f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", style="dim"),
                visible(each.actor),
                each.action,
                Text.assemble(f"{each.kind} {visible(each.target)}", (more, "dim")),
            )
        console().print(table)
    else:
        note("nothing was done by hand")
    return Exit.OK
