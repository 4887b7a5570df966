"""`stepwell runs logs`: what the handlers of a run said."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit
from stepwell.cli.output import console, note, plain, print_json
from stepwell.cli.runs import RunId, connected, resolve
from stepwell.cli.steps import log_text
from stepwell.client.logs import PAGE, LogLine
from stepwell.client.run import Run
from stepwell.define.context import LogLevel


async def logs(
    run: RunId,
    *,
    step: Annotated[str | None, Parameter(help="Only of this step.")] = None,
    index: Annotated[int | None, Parameter(help="Only of this element of a map.")] = None,
    attempt: Annotated[int | None, Parameter(help="Only of this attempt.")] = None,
    level: Annotated[LogLevel | None, Parameter(help="Only of this level and above.")] = None,
    tail: Annotated[
        int | None, Parameter(help="Only the last so many.", validator=Number(gte=1))
    ] = None,
    follow: Annotated[
        bool, Parameter(("--follow", "-f"), negative=(), help="Go on until the run ends.")
    ] = False,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Print what the handlers of a run said. With --json a list; with --follow too, an object per
    line."""
    async with connected(dsn) as client:
        info = await client.get(await resolve(client, run))
        handle, wanted = client.run(info.id), Lines(step, index, attempt, level)
        lines = wanted.followed(handle, tail) if follow else wanted.so_far(handle, tail)
        if json and not follow:
            print_json(plain([line async for line in lines]))
            return Exit.OK
        found, out = False, console()
        async for line in lines:
            found = True
            if json:
                print_line(line)
            else:
                out.print(log_text(line, alone=info.kind == "job"), soft_wrap=True)
    if not (found or json):
        said = f"run {info.id} said nothing"
        note(said if wanted == Lines() else f"{said} of that kind")
    return Exit.OK


class Lines(msgspec.Struct, frozen=True):
    """Which ones."""

    step: str | None = None
    task_index: int | None = None
    attempt: int | None = None
    level: LogLevel | None = None

    def followed(self, run: Run[Any], tail: int | None) -> AsyncGenerator[LogLine]:
        return run.follow_logs(
            self.step,
            task_index=self.task_index,
            attempt=self.attempt,
            level=self.level,
            newest=tail,
        )

    async def so_far(self, run: Run[Any], tail: int | None) -> AsyncGenerator[LogLine]:
        """Page by page: there may be many."""
        after: LogLine | None = None
        while True:
            page = await run.logs(
                self.step,
                task_index=self.task_index,
                attempt=self.attempt,
                level=self.level,
                limit=tail or PAGE,
                newest=tail is not None,
                after=after,
            )
            for line in sorted(page, key=lambda each: each.at):
                yield line
            if tail is not None or len(page) < PAGE:
                return
            after = page[-1]


def print_line(line: LogLine) -> None:
    """As programs read a stream."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
