"""Draw runs until they have ended: live on a terminal, a line per change elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from rich.console import Console, Group
from rich.live import Live

from stepwell.cli.output import seconds, visible
from stepwell.cli.show import Picture, drawn, picture
from stepwell.client.client import Client

INTERVAL = 0.1


async def follow(client: Client, run_ids: Sequence[UUID], console: Console) -> list[Picture]:
    """Show the runs until all have ended; how they looked at last."""
    if not console.is_terminal:
        return await tell(client, run_ids, console)
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            shown = await pictures(client, run_ids)
            live.update(
                Group(*(part for each in shown for part in (drawn(each), ""))), refresh=True
            )
            if all(each.ended for each in shown):
                return shown
            await asyncio.sleep(INTERVAL)


async def tell(client: Client, run_ids: Sequence[UUID], console: Console) -> list[Picture]:
    told: set[str] = set()
    while True:
        shown = await pictures(client, run_ids)
        for each in shown:
            for line in changes(each):
                if line not in told:
                    told.add(line)
                    console.print(visible(line), markup=False)
        if all(each.ended for each in shown):
            return shown
        await asyncio.sleep(INTERVAL)


def changes(shown: Picture) -> list[str]:
    """What there is to say so far; each sentence is said once."""
    run = str(shown.run.id)[-4:]
    a_job = shown.run.flow if shown.run.kind == "job" else None  # its only step has no name of ours
    lines = [
        f"{run}  {a_job or a.step}[{a.task_index}] attempt {a.attempt} failed: {a.error_type}: "
        f"{a.error_message}"
        for a in shown.attempts
    ]
    for step in shown.steps:
        if step.started_at and step.status in ("completed", "failed") and step.ended_at:
            length = seconds((step.ended_at - step.started_at).total_seconds())
            lines.append(f"{run}  {a_job or step.step} {step.status} after {length}")
        elif step.status == "skipped":
            lines.append(f"{run}  {step.step} skipped: {step.skip_reason}")
    if shown.ended:
        lines.append(f"{run}  run {shown.run.status}")
    return lines


async def pictures(client: Client, run_ids: Sequence[UUID]) -> list[Picture]:
    return [await picture(client, await client.get(run_id)) for run_id in run_ids]
