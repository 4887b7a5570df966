"""`stepwell runs explain`: why a run is not moving."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit
from stepwell.cli.output import console, plain, print_json, visible
from stepwell.cli.runs import RunId, connected, resolve
from stepwell.db.explain import Reason, State

STYLES: dict[State, str] = {
    "stuck": "bold red",
    "waiting": "yellow",
    "moving": "green",
    "ended": "dim",
}


async def explain(run: RunId, *, dsn: Dsn = None, json: AsJson = False) -> int:
    """Say why a run is not moving, and what to do about it; exit 1 when it is stuck."""
    async with connected(dsn) as client:
        run_id = await resolve(client, run)
        reasons = await client.explain(run_id)
    if json:
        print_json({"id": run_id, "reasons": plain(reasons)})
    else:
        print_reasons(reasons, console())
    return Exit.FAILED if any(each.state == "stuck" for each in reasons) else Exit.OK


def print_reasons(reasons: Iterable[Reason], where: Console) -> None:
    for each in reasons:
        said = Text.assemble((f"{each.state:8}", STYLES[each.state]), visible(each.message))
        where.print(said, soft_wrap=True)
        if each.remedy:
            remedy = Text.assemble(("        → ", "dim"), visible(each.remedy))
            where.print(remedy, soft_wrap=True)
