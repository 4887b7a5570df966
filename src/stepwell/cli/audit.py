"""`stepwell audit`: who did what by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.output import compact, visible
from stepwell.cli.runs import Limit, connected, resolve
from stepwell.cli.show import listed
from stepwell.db.steer import AuditEntry


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
    columns = "when (UTC)", "who", "what", "to"
    return listed(found, json, "nothing was done by hand", columns, cells)


def cells(each: AuditEntry) -> Iterator[str | Text]:
    yield Text(f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", style="dim")
    yield from (visible(each.actor), each.action)
    more = f"  {compact(each.detail, 100)}" if each.detail else ""
    yield Text.assemble(f"{each.kind} {visible(each.target)}", (more, "dim"))
