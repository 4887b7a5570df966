"""Watching runs: on a terminal and off it, over an outage, with what their handlers say."""

from __future__ import annotations

import asyncio
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from stepwell import Client, Context, Flow, Settings, Stepwell
from stepwell.cli.exits import Exit
from stepwell.cli.follow import follow
from stepwell.testing import Kit
from tests.chaos.proxy import proxied

from .cli_programs import Command, asked, write_program
from .workshop import Workshop

pytestmark = pytest.mark.timeout(120)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE = 30.0
PROGRAM = """
from stepwell import Context, Flow, Stepwell, job

@job
async def pack(ctx: Context, item: str) -> str:
    ctx.log(f"packing {item}")
    return item

flow = Flow("greet", base_delay=0)

@flow.step(max_attempts=2)
def hello(flow_input: str, ctx: Context) -> str:
    for word in ("one", "two", "three"):
        ctx.log(f"{word} \\x1b[31m", level="debug" if word == "one" else "info")
    if ctx.attempt == 1:
        ctx.log("oops", level="error")
        raise OSError("oops")
    ctx.progress(0.5, "half")
    return flow_input

app = Stepwell(flows=[flow], jobs=[pack])
"""


async def until(out: io.StringIO, *words: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not all(word in CONTROL.sub("", out.getvalue()) for word in words):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("terminal", [True, False])
async def test_watching_goes_on_when_the_database_comes_back(
    workshop: Workshop, terminal: bool
) -> None:
    flow = Flow[None, object]("long")
    go_on = asyncio.Event()

    @flow.step
    async def grind(ctx: Context) -> str:
        ctx.progress(0.25, "a quarter")
        ctx.log("so far so good")
        await go_on.wait()
        return "fine"

    run = await workshop.client.start(flow)
    async with workshop.worker(flow), proxied(workshop.dsn) as proxy:
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=120, height=40)
        settings = Settings(dsn=proxy.dsn, connect_timeout=0.5)
        async with Client(settings=settings) as client:
            following = asyncio.create_task(follow(client, [run.id], console))
            await until(out, "25 %", "a quarter")
            if terminal:
                await until(out, "━━──────", "grind  so far so good")
            proxy.refusing = True
            proxy.cut_all()
            away = "the database has been away for" if terminal else "the database is away"
            await until(out, away)
            proxy.refusing = False
            go_on.set()
            [shown] = await asyncio.wait_for(following, PATIENCE)
    assert shown.run.status == "completed"
    last = CONTROL.sub("", out.getvalue())[-200:]
    assert ("✓ completed" if terminal else "run completed") in last


def test_logs_of_a_run(command: Command, dsn: str, tmp_path: Path) -> None:
    path = write_program(tmp_path, PROGRAM)
    code, run_id, _ = command("start", f"{path}:greet", "--input", '"ada"')
    assert code == Exit.OK

    code, out, err = command("runs", "logs", run_id.strip())
    assert (code, out) == (Exit.OK, "")
    assert "said nothing" in err

    asyncio.run(drained(path, dsn))
    code, out, err = command("runs", "logs", run_id.strip())
    assert (code, err) == (Exit.OK, "")
    assert [line.split("  ", 1)[1] for line in out.splitlines()] == [
        "hello  one \N{REPLACEMENT CHARACTER}[31m",
        "hello  two \N{REPLACEMENT CHARACTER}[31m",
        "hello  three \N{REPLACEMENT CHARACTER}[31m",
        "hello  error  oops",
        "hello  attempt 2  one \N{REPLACEMENT CHARACTER}[31m",
        "hello  attempt 2  two \N{REPLACEMENT CHARACTER}[31m",
        "hello  attempt 2  three \N{REPLACEMENT CHARACTER}[31m",
    ]
    words = ("runs", "logs", run_id.strip())
    assert len(asked(command, *words, "--attempt", "2", "--level", "info")) == 2
    assert [each["n"] for each in asked(command, *words, "--tail", "2")] == [2, 3]
    assert asked(command, *words, "--step", "bye") == asked(command, *words, "--index", "1") == []
    code, out, _ = command(*words, "--follow", "--level", "error", "--json")  # it has ended
    assert [json.loads(line)["message"] for line in out.splitlines()] == ["oops"]
    assert command("runs", "logs", "nobody")[0] == Exit.FAILED
    assert command(*words, "--level", "loud")[0] == Exit.USAGE

    shown = asked(command, "runs", "show", run_id.strip())
    assert [each["message"] for each in shown["progress"]] == ["half"]
    assert len(shown["logs"]) == 7
    _, out, _ = command("runs", "show", run_id.strip())
    assert "hello  attempt 2  three" in out
    code, out, _ = command("runs", "watch", run_id.strip())
    assert code == Exit.OK
    assert "hello[0] attempt 1 failed: OSError: oops" in out.splitlines()[0]


async def drained(path: str, dsn: str) -> None:
    from stepwell.cli.load import load_app  # noqa: PLC0415

    app = load_app(path)
    assert isinstance(app, Stepwell)
    async with Kit(app, dsn) as kit:
        await kit.drain()
