"""Queue workers that are killed at random: every message is handled, in one hand at a time."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from tests.engine.workshop import Workshop

from .crew import Crew, Member

GRACE = 3.0  # enough for what runs in threads, which cannot be cut off
SHORT = pytest.mark.timeout(150)
LONG = [pytest.mark.chaos, pytest.mark.timeout(600)]
LEFT = "select (select count(*) from pgmq.q_calm) + (select count(*) from pgmq.q_busy)"
EMPTY = (
    "select 1 where not exists (select from pgmq.q_calm) and not exists (select from pgmq.q_busy)"
)


@pytest.mark.parametrize(
    ("messages", "kills"), [pytest.param(300, 5, marks=SHORT), pytest.param(5000, 60, marks=LONG)]
)
async def test_every_message_is_handled_in_one_hand_at_a_time(
    workshop: Workshop, tmp_path: Path, messages: int, kills: int
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for queue in ("calm", "busy"):
        await workshop.client.create_queue(queue)
        await workshop.client.send_batch(queue, range(messages))
    stopped: list[Member] = []
    with Crew(workshop.dsn, tmp_path, "tests.chaos.messages:app") as crew:
        for _ in range(3):
            crew.start(grace=GRACE)
        killed, end = 0, time.monotonic() + messages
        while killed < kills and workshop.rows(LEFT)[0][0]:
            assert time.monotonic() < end
            await asyncio.sleep(chance.uniform(0.3, 1.2))
            if len(crew.at_work()) < 3:
                continue  # somebody must be left to do the work
            member = chance.choice(crew.members)
            if chance.random() < 0.3:  # told to stop, it gives back what it has
                member.kill(signal.SIGTERM)
                crew.members.remove(member)
                stopped.append(member)
                crew.start(grace=GRACE)
            else:
                crew.replace(member, grace=GRACE)
            killed += 1
        await workshop.until(EMPTY, patience=messages)
        assert crew.wrote("crowded") == []
        assert [await member.ended() for member in stopped] == [0] * len(stopped)
        assert len(crew.broken()) == len(stopped), crew.broken()
    every = [(number,) for number in range(messages)]
    assert workshop.rows("select message::int from pgmq.a_calm order by 1") == every
    assert workshop.rows("select message::int from pgmq.a_busy order by 1") == every
    assert workshop.rows("select error_type from pgflow.dead_letters") == []
    [(again,)] = workshop.rows(
        "select (select count(*) from pgmq.a_busy where read_ct > 1)"
        " + (select count(*) from pgmq.a_calm where read_ct > 1)"
    )
    print(f"{killed} killed, {again} of {2 * messages} messages read again")
    assert killed
