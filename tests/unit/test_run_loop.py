"""What a loop leaves behind when it ends with the process."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from stepwell.worker.stop import run_loop


async def stubborn() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def main() -> str:
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    assert not task.done()
    return "done"


def test_a_task_that_swallows_its_cancellation_is_left_without_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "asyncio"):
        assert run_loop(main(), patience=0.05) == "done"
        gc.collect()
    assert caplog.records == []


def test_other_errors_are_still_told(caplog: pytest.LogCaptureFixture) -> None:
    async def forgetful() -> None:
        async def broken() -> None:
            raise ValueError("nobody asked")

        await main()
        task = asyncio.create_task(broken())
        await asyncio.wait({task})

    with caplog.at_level(logging.ERROR, "asyncio"):
        run_loop(forgetful(), patience=0.05)
        gc.collect()
    assert [r.getMessage().splitlines()[0] for r in caplog.records] == [
        "Task exception was never retrieved"
    ]
