"""The blocking client is what tools/sync.py makes of the other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.sync import GENERATED, PACKAGE, applied, edits_of, made, twin_of

WRITTEN = '''
import asyncio
from stepwell.client.run import Run
from stepwell.db.pool import Pool
from stepwell.client.client import Client  # async only

class Session:
    """For Client. `await run.result()` of Client(dsn) in `async with`."""

    @property
    @cached
    def loop(self) -> Loop:  # async only
        """Left out."""
        return self.loop

    async def close(self, run: Run, pool: Pool) -> None:
        await self.waiter.close()  # async only
        async with pool.connection() as conn:
            (await call().on(conn))[0]
        await asyncio.sleep(1)
'''
TURNED = '''
import time
from stepwell.client.sync.run import SyncRun
from stepwell.db.sync.pool import SyncPool

class SyncSession:
    """For SyncClient. `run.result()` of SyncClient(dsn) in `with`."""


    def close(self, run: SyncRun, pool: SyncPool) -> None:
        with pool.connection() as conn:
            call().on_sync(conn)[0]
        time.sleep(1)
'''


@pytest.mark.parametrize("name", GENERATED)
def test_a_blocking_file_is_current(name: str) -> None:
    assert twin_of(name).read_text() == made(name), "run `python -m tools.sync`"


def test_words_become_those_of_the_blocking_form() -> None:
    assert applied(WRITTEN, edits_of(WRITTEN)) == TURNED


def test_no_blocking_file_is_left_behind() -> None:
    says_so = {path for path in PACKAGE.rglob("*.py") if "# made by tools/sync.py" in head(path)}
    assert says_so == {twin_of(name) for name in GENERATED}


def head(path: Path) -> str:
    with path.open() as file:
        return file.readline()
