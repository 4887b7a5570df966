"""`stepwell demo`: the article example from nothing to results, in one terminal."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Self
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

    An embedded Postgres, a worker in a process of its own, and two runs of the
    article example: a map with a retry, a condition that skips a step, results.
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
    with DemoWorker(path, dsn) as worker:
        if not worker.is_serving():
            return worker.blame("the worker did not start")
        say(out, "worker", f"process {worker.process.pid}, serving {shown_path(path)}")
        out.print()
        try:
            ended = asyncio.run(run_both(path, dsn, out))
        except TimeoutError:
            return worker.blame(f"the runs had not ended after {LONGEST:g} s")
    for each in ended:
        say(out, each.run.input["url"], result_of(each))
    out.print()
    for first, line in next_steps(path, [each.run.id for each in ended]):
        say(out, first, line)
    return Exit.OK if all(each.run.status == "completed" for each in ended) else Exit.FAILED


async def run_both(path: Path, dsn: str, out: Console) -> list[Picture]:
    flow = load_flow(f"{path}:{FLOW}")
    read = decoder(flow.input_type)
    async with asyncio.timeout(LONGEST), Client(dsn) as client:
        runs = [await client.start(flow, read(text)) for text in INPUTS]
        return await follow(client, [run.id for run in runs], out)


class DemoWorker:
    """A worker in a process of its own, which ends with the block, however the block ends."""

    def __init__(self, path: Path, dsn: str) -> None:
        self._resources = ExitStack()
        self._log = self._resources.enter_context(
            tempfile.TemporaryFile("a+b", buffering=0)  # noqa: SIM115 (appending: we move in it too)
        )
        self.process = subprocess.Popen(
            worker_command(str(path), "--logs", "human", "--grace", "5"),
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env=child_environment(dsn),
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        self._resources.close()

    def is_serving(self) -> bool:
        """Wait until it takes tasks; False when it ended instead."""
        end = time.monotonic() + LONGEST
        while self.process.poll() is None and time.monotonic() < end:
            if "WorkerStarted" in self.said():
                return True
            time.sleep(0.02)
        return False

    def said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def blame(self, why: str) -> int:
        complain(f"{why}; it said:\n{self.said()}")
        return Exit.FAILED


def result_of(ended: Picture) -> str:
    if ended.run.output is not None:
        return compact(ended.run.output, 300)
    skipped = [step.step for step in ended.steps if step.status == "skipped"]
    return f"{ended.run.status} without output: {', '.join(skipped)} was skipped"


def next_steps(path: Path, run_ids: Sequence[UUID]) -> list[tuple[str, str]]:
    command = "stepwell"
    if (Path.cwd() / "run.py").is_file() and source_folder() == Path.cwd():
        command = "python3 run.py stepwell"
    return [
        ("look", f"{command} db start      (Postgres stops with the demo, its data stays)"),
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
    out.print(Text.assemble((f"{first:<9} ", "bold"), rest), soft_wrap=True)
