"""`stepwell doctor`: what is wrong with a database, why it matters, and what helps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from stepwell.cli.database import AsJson, Dsn, database, settings_of
from stepwell.cli.exits import Exit
from stepwell.cli.output import console, note, plain, print_json, visible
from stepwell.db.doctor.examine import Diagnosis, Finding, examine
from stepwell.db.doctor.finding import Severity

STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "info": "cyan"}
INDENT = " " * 9


async def doctor(*, dsn: Dsn = None, json: AsJson = False) -> int:
    """Look a database over: the server, the schema, the workers, and what stands still.

    Nothing is changed. Exit 1 when something is wrong or will be.
    """
    settings = settings_of(dsn)
    found = await examine(replace(settings, dsn=database(dsn)))
    if json:
        print_json(
            {
                "healthy": found.healthy,
                "findings": plain(found.findings),
                "checks": found.checks,
                "unchecked": found.unchecked,
            }
        )
    else:
        where = console()
        for each in found.findings:
            print_finding(each, where)
        where.print(summary(found))
        for each in found.unchecked:
            note(f"not looked at: {visible(each)}")
    return Exit.OK if found.healthy else Exit.FAILED


def print_finding(each: Finding, where: Console) -> None:
    what = Text.assemble((f"{each.severity:8} ", STYLES[each.severity]), visible(each.what))
    where.print(what, soft_wrap=True)
    where.print(Text(f"{INDENT}{visible(each.why)}", "dim"), soft_wrap=True)
    for remedy in each.remedies:
        where.print(Text.assemble((f"{INDENT}→ ", "dim"), visible(remedy)), soft_wrap=True)


def summary(found: Diagnosis) -> Text:
    counts = Counter(each.severity for each in found.findings)
    said = [
        f"{count} {severity}{'s' if count > 1 and severity != 'info' else ''}"
        for severity, count in counts.items()
    ]
    made = f"{found.checks - len(found.unchecked)} checks"
    if found.healthy:
        return Text(", ".join([f"healthy: {made}", *said]), style="green")
    return Text(f"{', '.join(said)} of {made}")
