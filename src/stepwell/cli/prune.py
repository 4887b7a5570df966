"""`stepwell prune`: forget runs that ended long ago."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.output import note, plain, print_json
from stepwell.cli.runs import Actor, connected
from stepwell.define.archive import ArchivedRun
from stepwell.observe.emit import subscribed
from stepwell.observe.events import Event, RunNotArchived

UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 36500 * 86400


async def prune(
    *,
    older_than: Annotated[
        str | None, Parameter(help="30d, 12h, 2w or 90m; default: each definition's retention.")
    ] = None,
    flow: Annotated[
        tuple[str, ...],
        Parameter(negative=(), help="Only of this flow, machine or job; may be repeated."),
    ] = (),
    to: Annotated[
        Path | None,
        Parameter(help="Write each run to this file, a line of JSON each, before it goes."),
    ] = None,
    actor: Actor = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Forget ended runs now, with all that they left; live ones stay.

    Workers do this all the time with what is past its retention.
    With --older-than, what ended longer ago goes, but for definitions whose
    runs are to be kept for ever: those only with --flow.
    Runs of an app with an archive are left to its workers, unless --to says
    where to keep them.
    One that is too large to be archived stays; then the exit code is 1.
    """
    age = None if older_than is None else age_of(older_than)
    refused: list[RunNotArchived] = []

    def heard(event: Event) -> None:
        if isinstance(event, RunNotArchived):
            refused.append(event)

    with subscribed(heard):
        async with connected(dsn) as client:
            archive = None if to is None else Lines(to)
            gone = await client.prune(*flow, older_than=age, archive=archive, actor=actor)
    if json:
        print_json({"deleted": gone, "refused": plain(refused)})
    elif gone:
        for slug, count in gone.items():
            print(f"{count} {slug}")
    elif not refused:
        note("nothing to forget")
    for each in refused:
        note(f"run {each.run_id} of {each.flow} stays, it cannot be archived: {each.message}")
    return Exit.FAILED if refused else Exit.OK


class Lines:
    """Appends runs to a file; what is there is on the disk."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("a"):
                self._path = path
        except OSError as error:
            raise UsageError(f"--to {path}: {error.strerror}") from error

    def __call__(self, runs: Sequence[ArchivedRun]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{run.json}\n" for run in runs)
            file.flush()
            os.fsync(file.fileno())


def age_of(text: str) -> timedelta:
    """A number and a unit; without a unit it could be anything."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", text.strip().lower())
    seconds = float(found[1]) * UNITS[found[2]] if found else -1
    if not 0 <= seconds <= LONGEST:
        raise UsageError(
            f"--older-than is {text!r}; write a number and a unit: 90m, 12h, 30d or 2w"
        )
    return timedelta(seconds=seconds)
