"""Who waits for a run at the command line is told when it will not move by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from stepwell.cli.output import note, visible
from stepwell.client.client import Client
from stepwell.errors import StepwellError

FIRST = 3.0  # seconds: most runs have ended, or begun
AGAIN = 15.0


@asynccontextmanager
async def saying_why(client: Client, run_id: UUID) -> AsyncGenerator[None]:
    """For the length of a block, say on stderr what keeps the run from moving, each thing once."""
    saying = asyncio.create_task(say_why(client, run_id))
    try:
        yield
    finally:
        saying.cancel()


async def say_why(client: Client, run_id: UUID) -> None:
    told: set[str] = set()
    pause = FIRST
    while True:
        await asyncio.sleep(pause)
        pause = AGAIN
        with suppress(StepwellError):  # whoever waits is told of an outage by the waiting itself
            for each in await client.explain(run_id):
                if each.state == "stuck" and each.message not in told:
                    told.add(each.message)
                    remedy = f" ({each.remedy})" if each.remedy else ""
                    note(f"{visible(each.message)}{visible(remedy)}", style="yellow")
