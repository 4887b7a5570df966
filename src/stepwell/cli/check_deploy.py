"""`stepwell check-deploy`: whether the live runs of a database can end on this code."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn, database
from stepwell.cli.deploy import InTransaction
from stepwell.cli.exits import Exit
from stepwell.cli.load import load_app
from stepwell.cli.migrate import connected
from stepwell.cli.output import console, note, plain, print_json, visible
from stepwell.cli.show import narrow_table
from stepwell.compile.finish import Checked, Unfinished, check_runs
from stepwell.db import migrate as schema


async def check_deploy(
    target: Annotated[str, Parameter(help="app.py, app.py:name or module:name.")],
    *,
    ignore: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(), help="Slugs that other programs serve, with * and ?; may be repeated."
        ),
    ] = (),
    limit: Annotated[
        int, Parameter(help="Runs to list of each version.", validator=Number(gte=0))
    ] = 20,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """List the live runs that this code could not finish; exit 1 if there are any.

    For CI: run it with the new code against the database that it is for, before
    the old workers go. Nothing is changed.
    """
    app = load_app(target)
    async with await connected(database(dsn)) as conn:
        schema.check(await schema.read_schema(conn))
        checked = await check_runs(InTransaction(conn), app, ignore=ignore, most=limit)
    if json:
        print_json(as_data(checked))
    else:
        tell(checked)
    return Exit.FAILED if checked.unfinished else Exit.OK


def tell(checked: Checked) -> None:
    if not checked.unfinished:
        print(
            f"all {checked.live} live runs can end on this code" if checked.live else "no live runs"
        )
        return
    if checked.runs:
        console().print(run_table(checked.runs))
    stuck = sum(checked.unfinished.values())
    for (slug, version), count in checked.unfinished.items():
        print(f"{slug}, version {version}: {count}")
    note(f"{stuck} of {checked.live} live runs cannot end on this code")
    note(
        "keep a worker with the old code until they have ended, keep what they need in the code,"
        " or cancel them; what other programs serve is left out with --ignore"
    )


def run_table(runs: tuple[Unfinished, ...]) -> object:
    table = narrow_table("run", "of", "stands at", "started", "why")
    for run in runs:
        table.add_row(
            str(run.run_id),
            Text.assemble((run.flow, "bold"), (f" v{run.version}", "dim")),
            visible(", ".join(run.steps)),
            Text(f"{run.started_at:%Y-%m-%d %H:%M}", style="dim"),
            visible(run.reason),
        )
    return table


def as_data(checked: Checked) -> dict[str, object]:
    versions = [
        {"flow": slug, "version": version, "runs": count}
        for (slug, version), count in checked.unfinished.items()
    ]
    return {"live": checked.live, "unfinished": versions, "runs": plain(checked.runs)}
