"""`stepwell demo`: the article example from nothing to results, in one terminal."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated
from uuid import UUID

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

import stepwell
from stepwell.cli.dev import child_environment, worker_command
from stepwell.cli.exits import Exit, UsageError
from stepwell.cli.follow import follow
from stepwell.cli.load import load_flow
from stepwell.cli.migrate import migrate_quietly
from stepwell.cli.output import compact, complain, console
from stepwell.cli.show import Picture
from stepwell.client.client import Client
from stepwell.define.payload import decoder
from stepwell.dev.postgres import EmbeddedPostgres

EXAMPLE = Path("examples", "article", "app.py")
FLOW = "analyze_article"
INPUTS = (
    b'{"url": "https://example.org/en/rivers"}',
    b'{"url": "https://example.org/de/brunnen"}',  # not English: one step will be skipped
)
LONGEST = 60.0  # seconds; a demo that hangs helps nobody


def demo(
    *,
    dsn: Annotated[
        str | None, Parameter(help="Postgres to use instead of the embedded one.")
    ] = None,
) -> int:
    """See a flow run, here and now.

    An embedded Postgres, a worker in a process of its own, and two runs of the article example:
    a map with a retry, a condition that skips a step, and the results.
    """
    path = example()
    out = console()
    if dsn:
        return show(path, dsn, out)
    embedded = EmbeddedPostgres()
    say(out, "Postgres", f"embedded, its data in {embedded.home}")
    with embedded:
        return show(path, embedded.dsn(), out)


def show(path: Path, dsn: str, out: Console) -> int:
    applied = asyncio.run(migrate_quietly(dsn))
    say(out, "schema", f"{len(applied)} migrations applied" if applied else "up to date")
    with worker_process(path, dsn) as (process, log):
        say(out, "worker", f"process {process.pid}, serving {shown_path(path)}")
        out.print()
        try:
            ended = asyncio.run(run_both(path, dsn, out))
        except TimeoutError:
            complain(f"the runs had not ended after {LONGEST:g} s; the worker said:")
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            return Exit.FAILED
    for each in ended:
        say(out, each.run.status, compact(each.run.output, 300))
    for first, line in next_steps(path, [each.run.id for each in ended]):
        say(out, first, line)
    return Exit.OK if all(each.run.status == "completed" for each in ended) else Exit.FAILED


async def run_both(path: Path, dsn: str, out: Console) -> list[Picture]:
    flow = load_flow(f"{path}:{FLOW}")
    read = decoder(flow.input_type)
    async with asyncio.timeout(LONGEST), Client(dsn) as client:
        runs = [await client.start(flow, read(text)) for text in INPUTS]
        return await follow(client, [run.id for run in runs], out)


@contextmanager
def worker_process(path: Path, dsn: str) -> Generator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A worker that ends with the block, however the block ends."""
    command = worker_command(str(path), "--logs", "human", "--grace", "5")
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=child_environment(dsn),
            process_group=0,
        )
        try:
            yield process, log
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin:
                process.stdin.close()


def next_steps(path: Path, run_ids: Sequence[UUID]) -> list[tuple[str, str]]:
    command = "stepwell"
    if (Path.cwd() / "run.py").is_file() and source_folder() == Path.cwd():
        command = "python3 run.py stepwell"
    return [
        ("look", f"{command} db start   (Postgres stops with the demo, its data stays)"),
        ("", f"{command} runs show {run_ids[0]} --attempts"),
        ("play", f"{command} dev {shlex.quote(shown_path(path))}"),
    ]


def example() -> Path:
    """Beside the package's source, or inside an installed package."""
    for folder in (source_folder(), Path(stepwell.__file__).parent):
        if (folder / EXAMPLE).is_file():
            return folder / EXAMPLE
    raise UsageError(
        "the demo is in the source tree, which is not here: clone it and run `python3 run.py demo`"
    )


def source_folder() -> Path:
    return Path(stepwell.__file__).resolve().parents[2]


def shown_path(path: Path) -> str:
    """Relative to where we are, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def say(out: Console, first: str, rest: str) -> None:
    out.print(Text.assemble((f"{first:<10}", "bold"), rest), soft_wrap=True)
