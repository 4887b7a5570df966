"""`stepwell demo`: a flow, a machine and jobs from nothing to results, in one terminal."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self
from uuid import UUID

from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from stepwell.cli.dev import child_environment, worker_command
from stepwell.cli.exits import Exit
from stepwell.cli.follow import follow
from stepwell.cli.load import load_flow
from stepwell.cli.migrate import migrate_quietly
from stepwell.cli.output import compact, complain, console
from stepwell.cli.picture import Picture
from stepwell.cli.sources import example, source_folder
from stepwell.client.client import Client
from stepwell.client.run import Run
from stepwell.define.payload import decoder
from stepwell.dev.postgres import EmbeddedPostgres

ARTICLE = Path("examples", "article", "app.py")
SHOP = Path("examples", "shop", "app.py")
FLOW = "analyze_article"
INPUTS = (
    b'{"url": "https://example.org/en/rivers"}',
    b'{"url": "https://example.org/de/brunnen"}',  # not English: one step will be skipped
)
ITEMS = ("tea", "cup", "pot")
LONGEST = 60.0  # seconds; a demo that hangs helps nobody


@dataclass(frozen=True, slots=True)
class Shown:
    """How the runs looked when they had ended."""

    articles: Sequence[Picture]
    checkout: Picture
    jobs: Sequence[Picture]

    @property
    def all(self) -> list[Picture]:
        return [*self.articles, self.checkout, *self.jobs]


def demo(
    *,
    dsn: Annotated[
        str | None, Parameter(help="Postgres to use instead of the embedded one.")
    ] = None,
) -> int:
    """See a flow, a machine and jobs run, here and now.

    An embedded Postgres, and a worker for each of two examples: articles go
    through a map with a retry and a condition; a checkout waits for a signal
    and then for the jobs that pack its items.
    """
    paths = example(ARTICLE), example(SHOP)
    out = console()
    if dsn:
        return show(*paths, dsn, out)
    embedded = EmbeddedPostgres()
    say(out, "Postgres", f"embedded, its data in {embedded.home}")
    with embedded:
        return show(*paths, embedded.dsn(), out)


def show(article: Path, shop: Path, dsn: str, out: Console) -> int:
    applied = asyncio.run(migrate_quietly(dsn))
    say(out, "schema", f"{len(applied)} migrations applied" if applied else "up to date")
    with ExitStack() as stack:
        workers = [stack.enter_context(DemoWorker(path, dsn)) for path in (article, shop)]
        for worker in workers:
            if not worker.is_serving():
                return worker.blame("a worker did not start")
            process = f"process {worker.process.pid}"
            say(out, "worker", f"{process}, serving {shown_path(worker.path)}")
        try:
            ended = asyncio.run(run_all(article, dsn, out))
        except TimeoutError:
            return workers[-1].blame(f"the runs had not ended after {LONGEST:g} s")
    out.print()
    for first, line in next_steps(article, shop, ended):
        say(out, first, line)
    done = all(each.run.status == "completed" for each in ended.all)
    return Exit.OK if done else Exit.FAILED


async def run_all(article: Path, dsn: str, out: Console) -> Shown:
    """All are started at once, and shown one kind after another."""
    flow = load_flow(f"{article}:{FLOW}")
    read = decoder(flow.input_type)
    order = int(time.time()) % 100_000
    async with asyncio.timeout(LONGEST), Client(dsn) as client:
        runs = [await client.start(flow, read(text)) for text in INPUTS]
        state = {"order": order, "items": ITEMS}
        checkout = await client.start("checkout", state, key=f"order:{order}")

        headline(out, "flow", "two articles; the first try of one call fails")
        articles = await follow(client, [run.id for run in runs], out)
        for each in articles:
            say(out, each.run.input["url"], result_of(each))

        headline(out, "machine", f"the checkout order:{order} waits for its payment: here it comes")
        await client.signal(f"order:{order}", "payment_confirmed", {"cents": 900})
        packing = await spawned(checkout)
        headline(out, "jobs", f"{len(packing)} of them pack its items, two at a time")
        last, *jobs = await follow(client, [checkout.id, *packing], out)
        say(out, f"order:{order}", result_of(last))
        return Shown(articles, last, jobs)


async def spawned(checkout: Run[object]) -> list[UUID]:
    """The jobs that pack its items, once they are there."""
    while True:
        children = await checkout.children()
        if children or (await checkout.info()).status != "started":
            return [child.run_id for child in children]
        await asyncio.sleep(0.02)


class DemoWorker:
    """A worker in a process of its own, which ends with the block, however the block ends."""

    def __init__(self, path: Path, dsn: str) -> None:
        self.path = path
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


def next_steps(article: Path, shop: Path, ended: Shown) -> list[tuple[str, str]]:
    command = "stepwell"
    if (Path.cwd() / "run.py").is_file() and source_folder() == Path.cwd():
        command = "python3 run.py stepwell"
    return [
        ("look", f"{command} db start      (Postgres stops with the demo, its data stays)"),
        ("", f"{command} runs show {ended.articles[0].run.id} --attempts"),
        ("", f"{command} runs show {ended.checkout.run.key}"),
        ("play", f"{command} dev {shlex.quote(shown_path(article))}"),
        ("", f"{command} dev {shlex.quote(shown_path(shop))}"),
    ]


def shown_path(path: Path) -> str:
    """Relative to where we are, if it is below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def headline(out: Console, first: str, rest: str) -> None:
    out.print()
    say(out, first, rest)


def say(out: Console, first: str, rest: str) -> None:
    out.print(Text.assemble((f"{first:<9} ", "bold"), rest), soft_wrap=True)
