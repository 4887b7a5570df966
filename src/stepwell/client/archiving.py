"""An archive gets runs that are about to go."""

from __future__ import annotations

import asyncio

from stepwell.define.archive import Archive, ArchivedRun
from stepwell.define.function import is_async


async def archived_by(archive: Archive, runs: list[ArchivedRun]) -> None:
    """A function that blocks gets a thread."""
    made = await asyncio.to_thread(archive, runs) if not is_async(archive) else archive(runs)
    if made is not None:
        await made
