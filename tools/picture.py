"""The picture of the terminal in the README: python -m tools.picture draws it anew.

A flow runs on a database of its own; what `stepwell runs watch` shows in the middle of it becomes
docs/pictures/watch.svg.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from rich.console import Console

from stepwell import Client, Context, Flow, Settings, Stepwell, Worker
from stepwell.cli.picture import Family
from stepwell.cli.tree import drawn
from stepwell.testing import database

TARGET = Path(__file__).parents[1] / "docs" / "pictures" / "watch.svg"
WIDTH = 100
DONE = 15  # elements of the map when the picture is taken

library = Flow("import_library", base_delay=8)


@library.step
async def catalogue(flow_input: str) -> list[str]:
    return [f"{flow_input}/{n}" for n in range(24)]


@library.map(over=catalogue)
async def scan(book: str, ctx: Context) -> int:
    if ctx.task_index == 3 and ctx.attempt == 1:
        raise ConnectionError("the scanner did not answer")
    if ctx.task_index < DONE + 1:
        return 300
    ctx.progress(0.2 * (ctx.task_index - DONE), f"page {60 * (ctx.task_index - DONE)} of 300")
    await asyncio.Event().wait()
    return 300


@library.step
async def prices(catalogue: list[str], ctx: Context) -> float:
    ctx.progress(0.6, "asking the third shop")
    ctx.log("the second shop has no price for 7 of them", level="warning")
    await asyncio.Event().wait()
    return 1.0


approved = library.signal("approved", after=catalogue)


@library.step(approved)
async def publish(scan: list[int], prices: float) -> int:
    return len(scan)


async def main() -> None:
    with database() as dsn:
        settings = Settings(dsn=dsn, concurrency=DONE + 4, grace=0)
        worker = Worker(Stepwell(flows=[library]), settings)
        serving = asyncio.create_task(worker.run())
        async with Client(dsn) as client:
            await worker.starter.await_ready(30)
            run = await client.start(library, "shelf", key="library:42")
            await taken(client, run.id)
        worker.stop(now=True)
        await serving


async def taken(client: Client, run_id: object) -> None:
    """Wait for the moment, and draw it."""
    family = Family(client, [run_id])  # pyright: ignore[reportArgumentType]
    while True:
        shown = await family.look()
        [scanning] = [step for step in shown[0].steps if step.step == "scan"]
        if scanning.completed_tasks >= DONE and len(shown[0].progress) >= 4 and shown[0].lines:
            break
        await asyncio.sleep(0.1)
    console = Console(record=True, width=WIDTH, force_terminal=True, file=open("/dev/null", "w"))  # noqa: ASYNC230, SIM115
    console.print("[dim]$[/] stepwell runs watch library:42", highlight=False)
    console.print(drawn(shown))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(without_fonts(console.export_svg(title="stepwell")))


def without_fonts(svg: str) -> str:
    """A picture asks nobody for a font."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
    return svg.replace("Fira Code", "ui-monospace, Menlo, Consolas")


if __name__ == "__main__":
    asyncio.run(main())
