"""`stepwell start`: start a run, and wait for it if asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from stepwell.cli.database import AsJson, Dsn
from stepwell.cli.exits import Exit, UsageError, message_of
from stepwell.cli.load import AnyFlow, load_flow
from stepwell.cli.output import complain, note, print_json
from stepwell.cli.runs import connected
from stepwell.client.client import Client
from stepwell.client.run import Run
from stepwell.define.payload import decoder
from stepwell.errors import PayloadError, RunFailed, RunTimeout


async def start(
    flow: Annotated[str, Parameter(help="A deployed flow's slug, or app.py:flow, module:flow.")],
    *,
    input: Annotated[
        str, Parameter(help="JSON, @FILE, or - for stdin.", allow_leading_hyphen=True)
    ] = "null",
    key: Annotated[str | None, Parameter(help="Same key, same run.")] = None,
    wait: Annotated[bool, Parameter(negative=(), help="Wait and print the output.")] = False,
    timeout: Annotated[float | None, Parameter(help="Seconds to wait at most.")] = None,
    dsn: Dsn = None,
    json: AsJson = False,
) -> int:
    """Start a run and print its id.

    With --wait print the output instead, and exit 1 if the run fails or is cancelled.
    """
    wanted = load_flow(flow) if is_target(flow) else flow
    value = parsed(read(input), wanted)
    async with connected(dsn) as client:
        run = await client.start(wanted, value, key=key)
        if wait:
            return await finish(client, run, timeout, json)
    if json:
        print_json({"id": run.id, "created": run.created})
    else:
        print(run.id)
        if not run.created:
            note(f"key {key!r} was taken: this is the run that has it")
    return Exit.OK


async def finish(client: Client, run: Run[Any], timeout: float | None, json: bool) -> int:
    """Wait for the run to end, and say how it did."""
    note(f"run {run.id}")
    try:
        output: Any = await run.result(timeout=timeout)
    except (RunFailed, RunTimeout) as error:
        if json:
            print_json(await facts(client, run))
        complain(f"{message_of(error)}\nsee: stepwell runs show {run.id} --attempts")
        return Exit.FAILED
    print_json(await facts(client, run) if json else output)
    return Exit.OK


async def facts(client: Client, run: Run[Any]) -> dict[str, object]:
    info = await client.get(run.id)
    return {
        "id": info.id,
        "created": run.created,
        "status": info.status,
        "output": info.output,
        "failed_step": info.failed_step,
        "error_type": info.error_type,
        "error_message": info.error_message,
    }


def is_target(typed: str) -> bool:
    """A slug has no colon, dot or slash."""
    return ":" in typed or typed.endswith(".py") or "/" in typed


def read(typed: str) -> str:
    if typed == "-":
        return sys.stdin.read()
    if typed.startswith("@"):
        try:
            return Path(typed[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{typed[1:]} cannot be read: {error}") from error
    return typed


def parsed(text: str, flow: AnyFlow | str) -> Any:
    """The input as a value; of the flow's own type when its code is at hand."""
    try:
        return decoder(Any if isinstance(flow, str) else flow.input_type)(text)
    except PayloadError as error:
        raise UsageError(f"--input: {error}") from error
