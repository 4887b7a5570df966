"""Sends every family its signals, some of them twice, in any order. When it is killed it is started
again, and begins at the beginning: it remembers nothing, the dedup keys do.

Run it with `python -m tests.chaos.signaller DSN FAMILIES`; it ends when all are sent."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress

from stepwell import Client, NoTarget, Settings

from .families import SIGNALS, key_of

AT_ONCE = 4


async def send(client: Client, number: int, name: str, payload: str) -> None:
    with suppress(NoTarget):  # the family went home: it got all its signals from another life of us
        for _ in range(random.choice([1, 1, 2])):
            await client.signal(key_of(number), name, payload, dedup_key=payload)
            await asyncio.sleep(random.uniform(0, 0.02))


async def send_all(dsn: str, families: int) -> None:
    letters = [(n, name, payload) for n in range(families) for name, payload in SIGNALS]
    random.shuffle(letters)
    rest = iter(letters)

    async def keep_sending() -> None:
        for letter in rest:
            await send(client, *letter)

    settings = Settings(dsn=dsn, connect_timeout=60)
    async with Client(settings=settings) as client, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(keep_sending())


if __name__ == "__main__":
    asyncio.run(send_all(sys.argv[1], int(sys.argv[2])))
