"""Keys of runs: when they are free again, and whom they find."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from stepwell import (
    Client,
    Conflict,
    NotFound,
)

from .client_hands import Worker
from .kind_hands import client as client
from .kind_hands import send, tidy
from .kind_hands import worker as worker


async def test_a_key_is_free_again_as_it_was_asked_for(client: Client, worker: Worker) -> None:
    for unique, free in (("live", True), ("kept", False), (timedelta(days=1), False)):
        choice: Any = unique
        first = await client.enqueue(tidy.call(), key=f"{unique}", unique=choice)
        worker.complete()
        second = await client.enqueue(tidy.call(), key=f"{unique}", unique=choice)
        assert (second.created, second.id != first.id) == (free, free), unique
        await second.cancel()


async def test_a_key_that_was_kept_for_a_time_is_free_after_it(
    client: Client, worker: Worker
) -> None:
    brief = timedelta(milliseconds=50)
    first = await client.enqueue(tidy.call(), key="k", unique=brief)
    await asyncio.sleep(0.1)
    assert not (await client.enqueue(tidy.call(), key="k")).created  # it is live
    worker.complete()
    assert (await client.enqueue(tidy.call(), key="k")).created
    assert (await first.info()).status == "completed"


async def test_another_input_under_the_same_key(client: Client) -> None:
    run = await client.enqueue(send.call(1), key="k", check_input=True)
    assert (await client.enqueue(send.call(1), key="k", check_input=True)).id == run.id
    assert (await client.enqueue(send.call(2), key="k")).id == run.id
    with pytest.raises(Conflict, match="another input"):
        await client.enqueue(send.call(2), key="k", check_input=True)


async def test_a_key_finds_the_run_that_has_it_or_had_it(client: Client, worker: Worker) -> None:
    first = await client.enqueue(tidy.call(), key="k")
    worker.complete()
    assert (await client.find("k")).id == first.id
    second = await client.enqueue(tidy.call(), key="k")
    assert (await client.find("k")).id == (await client.get("k")).id == second.id
    assert (await client.find(first)).id == first.id
    with pytest.raises(NotFound, match="no run in this database has or had the key 'gone'"):
        await client.get("gone")
    with pytest.raises(NotFound, match="no run"):
        await client.get(str(uuid4()))
    with pytest.raises(ValueError, match="find"):
        client.run("k")
