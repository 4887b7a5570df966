"""The examples do what they are there to show, served by a worker."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cyclopts import CycloptsError

from stepwell import Client, Settings, Worker
from stepwell.cli.main import make_app
from tests.docs.pages import ROOT, command_in

PROGRAMS = sorted(ROOT.glob("examples/*/app.py"))


@asynccontextmanager
async def served(name: str, dsn: str) -> AsyncGenerator[tuple[dict[str, Any], Client]]:
    """What the example defines, and a client, with a worker beside it."""
    names = runpy.run_path(str(ROOT / "examples" / name / "app.py"), run_name=f"example_{name}")
    worker = Worker(names["app"], Settings(dsn=dsn, poll=0.1))
    running = asyncio.create_task(worker.run())
    try:
        async with Client(dsn) as client:
            yield names, client
    finally:
        worker.stop()
        await running


async def test_the_hello_example_greets_and_ships(dsn: str) -> None:
    async with served("hello", dsn) as (names, client):
        run = await client.start(names["greet"], ["ada", "grace"])
        assert await run.result(timeout=30) == {"letter": "Hello Ada!\nHello Grace!"}
        order = await client.start(names["Order"](number=42), key="order:42")
        await client.signal("order:42", "paid")
        assert await order.result(timeout=30) == {"shipped": 42}


async def test_a_checkout_waits_for_its_payment_and_for_its_parcels(dsn: str) -> None:
    async with served("shop", dsn) as (names, client):
        checkout = names["Checkout"](order=42, items=["tea", "cup"])
        run = await client.start(checkout, key="order:42")
        await client.signal("order:42", "payment_confirmed", {"cents": 900})
        assert await run.result(timeout=30) == {
            "order": 42,
            "cents": 900,
            "parcels": [{"item": "tea", "grams": 300}, {"item": "cup", "grams": 300}],
        }
        [failed] = [a for child in await run.children() for a in await tried(client, child.run_id)]
        assert failed.error_message == "the warehouse did not answer"


async def tried(client: Client, run_id: Any) -> list[Any]:
    return await client.run(run_id).attempts()


async def test_the_schedule_of_the_mailing_example_writes_to_everybody(dsn: str) -> None:
    async with served("mailing", dsn) as (names, client):
        run = await client.start(names["digest"], "shop")  # the worker has deployed by its end
        sent = await run.result(timeout=30)
        assert len(sent["letters"]) == 8
        assert sent["letters"][0] == "shop to reader0@example.org: today"
        assert (await client.schedules.get("morning")).flow == "digest"
        [refused] = [await client.enqueue(names["send_mail"].call("shop", "nobody", "hello"))]
        assert (await refused.wait(timeout=30)).error_type == "ValueError"
        assert len(await refused.attempts()) == 1


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.parent.name)
def test_the_commands_of_an_example_are_commands(path: Any) -> None:
    for line in (runpy.run_path(str(path))["__doc__"] or "").splitlines():
        if words := command_in(line):
            try:
                make_app().parse_args(words, exit_on_error=False, print_error=False)
            except CycloptsError as error:
                pytest.fail(f"{path}: {line}: {error}")
