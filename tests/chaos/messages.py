"""The queue workers of the chaos tests: a message is a room that one body may be in."""

from __future__ import annotations

import asyncio
import random
import time

from stepwell import MessageContext, RetryPolicy, Stepwell, queue_worker

from .journal import room, write

OFTEN = RetryPolicy("fixed", limit=50, base_delay=1)


@queue_worker("calm", visibility_timeout=8, max_concurrent=5, retry=OFTEN)
async def stroll(number: int, ctx: MessageContext) -> None:
    """Mostly short, sometimes long, and now and then it fails."""
    with room(f"calm-{number}"):
        write("ran", number, ctx.read_ct)
        await asyncio.sleep(5.0 if number % 50 == 0 else random.uniform(0.02, 0.2))
        if random.random() < 0.05:
            raise ConnectionError("now and then")


@queue_worker("busy", visibility_timeout=8, max_concurrent=2, retry=OFTEN)
def toil(number: int) -> None:
    with room(f"busy-{number}"):
        time.sleep(random.uniform(0.02, 0.2))


app = Stepwell(queues=[stroll, toil])
