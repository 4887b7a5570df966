"""A flow, a machine and two jobs for the tests of starting, with a client and a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import psycopg
import pytest

from stepwell import (
    Cancel,
    Client,
    Done,
    Machine,
    MachineContext,
    Snooze,
    job,
    step,
)

from .client_hands import Worker, single

orders = single()


class Checkout(Machine, queue="checkout"):
    order: int
    paid: bool = False

    @step(initial=True)
    async def begin(self, ctx: MachineContext) -> Done:
        return Done()


@dataclass
class Letter:
    to: str


@job(queue="mail")
def send(user_id: int, note: str = "") -> Letter | Snooze | Cancel: ...


@job
async def tidy() -> None: ...


@pytest.fixture
async def client(dsn: str) -> AsyncIterator[Client]:
    async with Client(dsn) as client:
        yield client


@pytest.fixture
def worker(dsn: str) -> Iterator[Worker]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield Worker(conn, "orders", "send", "tidy", "checkout")
