"""The worker process that serves what is measured: python -m bench.flows."""

from __future__ import annotations

import asyncio
import sys

from stepwell import Settings, Worker
from stepwell.cli.bench_flows import app
from stepwell.worker.stop import on_signals


async def serve(dsn: str, concurrency: int) -> None:
    worker = Worker(app, Settings(dsn=dsn, concurrency=concurrency))
    with on_signals(worker):
        await worker.run()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
